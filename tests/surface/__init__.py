"""A mechanism that is switched off must turn its test red: small patches, and who tries them."""
