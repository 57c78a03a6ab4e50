"""The smallest form of the replication of the tasks."""

from replications import tasks


def test_chance_of_adding_is_the_variance_of_the_sum_and_a_gru_learns_it():
    found = tasks.run(small=True).rows[0].found
    chance, loss = (float(found.split(word)[1].split(";")[0].split(",")[0]) for word in ("chance ", "loss "))
    # 500 sums of two uniforms: the variance of (sum - 1)^2 is 1/15 - 1/36
    assert abs(chance - 1 / 6) < 4 * ((1 / 15 - 1 / 36) / 500) ** 0.5
    assert loss < chance / 2
