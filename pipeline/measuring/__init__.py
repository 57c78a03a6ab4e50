"""What is measured of finished trials: their spectra and fixed points; and what a study would cost."""
