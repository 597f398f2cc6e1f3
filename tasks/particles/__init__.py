"""The cooperative tasks of the Multi-Agent Particle Environment as batches of tensors on one device."""
