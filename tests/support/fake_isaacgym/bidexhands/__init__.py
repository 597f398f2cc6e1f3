"""A fake of Bi-DexterousHands with the interface of the real one, and its traps."""
