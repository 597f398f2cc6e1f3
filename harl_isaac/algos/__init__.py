"""Every algorithm by its name. To add one: write its file, add a line here."""

# name -> module:dataclass of settings, whose `learner(spec, seed)` builds networks, optimisers and update
ALGOS = {
    "happo": "harl_isaac.algos.happo:HappoCfg",
    "hatrpo": "harl_isaac.algos.hatrpo:HatrpoCfg",
}
