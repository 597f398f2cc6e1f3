"""MAMuJoCo (Peng et al., 2021): gymnasium's MuJoCo bodies, their joints divided among agents."""
