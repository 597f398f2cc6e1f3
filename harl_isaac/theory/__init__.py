"""The theory of Zhong et al. (2024), computed exactly in small Markov games."""
