"""Dictionaries of features: encoder and decoder of an autoencoder, NMF or PCA, as the units of a layer."""
