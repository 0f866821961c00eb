"""What is measured of a network's outputs under interventions: predictions of classes, or areas in drawn images."""
