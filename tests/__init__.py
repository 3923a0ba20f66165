"""The suite: unit (pure), integration (real Redis), acceptance (real processes), architecture, simulation."""
