"""Every algorithm by its name. To add one: write its file, add a line here."""

# name -> module:dataclass of settings, whose `learner(spec, seed)` builds networks, optimizers and update
ALGOS = {
    "happo": "harl_isaac.algos.happo:HappoCfg",
    "hatrpo": "harl_isaac.algos.hatrpo:HatrpoCfg",
    "haa2c": "harl_isaac.algos.haa2c:Haa2cCfg",
    "mappo": "harl_isaac.algos.mappo:MappoCfg",
    "maa2c": "harl_isaac.algos.maa2c:Maa2cCfg",
    "ippo": "harl_isaac.algos.ippo:IppoCfg",
    "had3qn": "harl_isaac.algos.had3qn:Had3qnCfg",
    "vdn": "harl_isaac.algos.vdn:VdnCfg",
    "qmix": "harl_isaac.algos.qmix:QmixCfg",
    "haddpg": "harl_isaac.algos.haddpg:HaddpgCfg",
    "hatd3": "harl_isaac.algos.hatd3:Hatd3Cfg",
    "hasac": "harl_isaac.algos.hasac:HasacCfg",
    "maddpg": "harl_isaac.algos.maddpg:MaddpgCfg",
    "matd3": "harl_isaac.algos.matd3:Matd3Cfg",
    "rl_games_ppo": "harl_isaac.algos.rl_games_ppo:RlGamesPpoCfg",
}
