//! How much memory the autoencoder takes, from its config alone.
