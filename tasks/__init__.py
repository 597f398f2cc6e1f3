"""Every task by its name. To add one: write its file, add a line here."""

# name -> module:dataclass of settings, whose `make(num_envs, device, sim)` builds the environment
TASKS = {
    "ShadowHandOver": "harl_isaac.tasks.hands.over:ShadowHandOverCfg",
    "CountingGame": "harl_isaac.tasks.games.counting:CountingGameCfg",
    "MatrixGame": "harl_isaac.tasks.games.matrix:MatrixGameCfg",
    "MemoryGame": "harl_isaac.tasks.games.memory:MemoryGameCfg",
    "MixedGame": "harl_isaac.tasks.games.mixed:MixedGameCfg",
    "OppositesGame": "harl_isaac.tasks.games.opposites:OppositesGameCfg",
    "SumGame": "harl_isaac.tasks.games.sum:SumGameCfg",
    "mamujoco/Ant": "harl_isaac.tasks.mamujoco.ant:AntCfg",
    "mamujoco/CoupledHalfCheetah": "harl_isaac.tasks.mamujoco.coupled_half_cheetah:CoupledHalfCheetahCfg",
    "mamujoco/HalfCheetah": "harl_isaac.tasks.mamujoco.half_cheetah:HalfCheetahCfg",
    "mamujoco/Hopper": "harl_isaac.tasks.mamujoco.hopper:HopperCfg",
    "mamujoco/Humanoid": "harl_isaac.tasks.mamujoco.humanoid:HumanoidCfg",
    "mamujoco/HumanoidStandup": "harl_isaac.tasks.mamujoco.humanoid:HumanoidStandupCfg",
    "mamujoco/ManySegmentAnt": "harl_isaac.tasks.mamujoco.ant:ManySegmentAntCfg",
    "mamujoco/ManySegmentSwimmer": "harl_isaac.tasks.mamujoco.swimmer:ManySegmentSwimmerCfg",
    "mamujoco/Pusher": "harl_isaac.tasks.mamujoco.pusher:PusherCfg",
    "mamujoco/Reacher": "harl_isaac.tasks.mamujoco.reacher:ReacherCfg",
    "mamujoco/Swimmer": "harl_isaac.tasks.mamujoco.swimmer:SwimmerCfg",
    "mamujoco/Walker2d": "harl_isaac.tasks.mamujoco.walker2d:Walker2dCfg",
    "mpe/simple_reference": "harl_isaac.tasks.particles.reference:SimpleReferenceCfg",
    "mpe/simple_speaker_listener": "harl_isaac.tasks.particles.speaker_listener:SimpleSpeakerListenerCfg",
    "mpe/simple_spread": "harl_isaac.tasks.particles.spread:SimpleSpreadCfg",
    "pettingzoo": "harl_isaac.adapters.pettingzoo:PettingZooCfg",
}

# Families whose tasks are other installs': any name of theirs is a task, those that come with them are listed.
FAMILIES = {"isaacgym": "harl_isaac.adapters.isaacgym:IsaacGymCfg", "isaaclab": "harl_isaac.adapters.isaaclab:IsaacLabCfg"}
KNOWN = {
    "isaacgym": (
        "ShadowHandBlockStack", "ShadowHandBottleCap", "ShadowHandCatchAbreast", "ShadowHandCatchOver2Underarm",
        "ShadowHandCatchUnderarm", "ShadowHandDoorCloseInward", "ShadowHandDoorCloseOutward", "ShadowHandDoorOpenInward",
        "ShadowHandDoorOpenOutward", "ShadowHandGraspAndPlace", "ShadowHandKettle", "ShadowHandLiftUnderarm", "ShadowHandOver",
        "ShadowHandPen", "ShadowHandPushBlock", "ShadowHandReOrientation", "ShadowHandScissors", "ShadowHandSwingCup",
        "ShadowHandSwitch", "ShadowHandTwoCatchUnderarm"),
    "isaaclab": ("Isaac-Cart-Double-Pendulum-Direct-v0", "Isaac-Shadow-Hand-Over-Direct-v0"),
}
TASKS.update({"%s/%s" % (family, name): FAMILIES[family] for family, names in KNOWN.items() for name in names})
