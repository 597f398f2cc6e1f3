"""Registry of the tasks.

To add a task, write one file with

- settings: a dataclass that derives from `harl_isaac.settings.TaskCfg` (or from a family's, such as `HandsCfg`,
  `MamujocoCfg`, `ParticleCfg`), whose `make(num_envs, device, sim)` builds the environment;
- the environment: a `harl_isaac.env.MultiAgentEnv`. `TensorGame` (games/base.py), `TwoHands` (hands/base.py),
  `MamujocoTask` (mamujoco/base.py) and `ParticleTask` (particles/base.py) are bases with most of it;

and add a line to TASKS. `harl_isaac.check_env.check_env` tests an environment against the contract.
"""

# name -> module:dataclass of settings
TASKS = {
    "AllegroHandOver": "harl_isaac.tasks.hands.allegro_over:AllegroHandOverCfg",
    "LeapHandOver": "harl_isaac.tasks.hands.leap_over:LeapHandOverCfg",
    "ShadowHandBlockStack": "harl_isaac.tasks.hands.block_stack:ShadowHandBlockStackCfg",
    "ShadowHandBottleCap": "harl_isaac.tasks.hands.bottle_cap:ShadowHandBottleCapCfg",
    "ShadowHandCatchAbreast": "harl_isaac.tasks.hands.catch:ShadowHandCatchAbreastCfg",
    "ShadowHandCatchOver2Underarm": "harl_isaac.tasks.hands.catch_over:ShadowHandCatchOver2UnderarmCfg",
    "ShadowHandCatchUnderarm": "harl_isaac.tasks.hands.catch:ShadowHandCatchUnderarmCfg",
    "ShadowHandDoorCloseInward": "harl_isaac.tasks.hands.door_close:ShadowHandDoorCloseInwardCfg",
    "ShadowHandDoorCloseOutward": "harl_isaac.tasks.hands.door_close:ShadowHandDoorCloseOutwardCfg",
    "ShadowHandDoorOpenInward": "harl_isaac.tasks.hands.door_open:ShadowHandDoorOpenInwardCfg",
    "ShadowHandDoorOpenOutward": "harl_isaac.tasks.hands.door_open:ShadowHandDoorOpenOutwardCfg",
    "ShadowHandGraspAndPlace": "harl_isaac.tasks.hands.grasp_and_place:ShadowHandGraspAndPlaceCfg",
    "ShadowHandKettle": "harl_isaac.tasks.hands.kettle:ShadowHandKettleCfg",
    "ShadowHandLiftUnderarm": "harl_isaac.tasks.hands.lift_underarm:ShadowHandLiftUnderarmCfg",
    "ShadowHandOver": "harl_isaac.tasks.hands.over:ShadowHandOverCfg",
    "ShadowHandPen": "harl_isaac.tasks.hands.pen:ShadowHandPenCfg",
    "ShadowHandPushBlock": "harl_isaac.tasks.hands.push_block:ShadowHandPushBlockCfg",
    "ShadowHandReOrientation": "harl_isaac.tasks.hands.re_orientation:ShadowHandReOrientationCfg",
    "ShadowHandScissors": "harl_isaac.tasks.hands.scissors:ShadowHandScissorsCfg",
    "ShadowHandSwingCup": "harl_isaac.tasks.hands.swing_cup:ShadowHandSwingCupCfg",
    "ShadowHandSwitch": "harl_isaac.tasks.hands.switch:ShadowHandSwitchCfg",
    "ShadowHandTwoCatchUnderarm": "harl_isaac.tasks.hands.catch:ShadowHandTwoCatchUnderarmCfg",
    "CountingGame": "harl_isaac.tasks.games.counting:CountingGameCfg",
    "MatrixGame": "harl_isaac.tasks.games.matrix:MatrixGameCfg",
    "MemoryGame": "harl_isaac.tasks.games.memory:MemoryGameCfg",
    "MixedGame": "harl_isaac.tasks.games.mixed:MixedGameCfg",
    "OppositesGame": "harl_isaac.tasks.games.opposites:OppositesGameCfg",
    "SumGame": "harl_isaac.tasks.games.sum:SumGameCfg",
    "TwoStepGame": "harl_isaac.tasks.games.two_step:TwoStepGameCfg",
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
    "pettingzoo": "harl_isaac.adapters.pettingzoo.game:PettingZooCfg",
}

# Families of external tasks: any name of theirs is a task, and is validated when the environment is built.
FAMILIES = {
    "isaacgym": "harl_isaac.adapters.isaacgym.env:IsaacGymCfg",
    "isaaclab": "harl_isaac.adapters.isaaclab.env:IsaacLabCfg",
}
# Tasks that come with these families, for the list of tasks.
EXTERNAL_TASKS = {
    "isaacgym": (
        "ShadowHandBlockStack",
        "ShadowHandBottleCap",
        "ShadowHandCatchAbreast",
        "ShadowHandCatchOver2Underarm",
        "ShadowHandCatchUnderarm",
        "ShadowHandDoorCloseInward",
        "ShadowHandDoorCloseOutward",
        "ShadowHandDoorOpenInward",
        "ShadowHandDoorOpenOutward",
        "ShadowHandGraspAndPlace",
        "ShadowHandKettle",
        "ShadowHandLiftUnderarm",
        "ShadowHandOver",
        "ShadowHandPen",
        "ShadowHandPushBlock",
        "ShadowHandReOrientation",
        "ShadowHandScissors",
        "ShadowHandSwingCup",
        "ShadowHandSwitch",
        "ShadowHandTwoCatchUnderarm",
    ),
    "isaaclab": ("Isaac-Cart-Double-Pendulum-Direct-v0", "Isaac-Shadow-Hand-Over-Direct-v0"),
}
TASKS.update({f"{family}/{name}": FAMILIES[family] for family, names in EXTERNAL_TASKS.items() for name in names})
# Scenarios of adapted simulators: family -> (module:dataclass of settings, names within the family)
SCENARIOS = {
    "smac": (
        "harl_isaac.adapters.starcraft.settings:SmacCfg",
        (
            "3m",
            "8m",
            "2s3z",
            "MMM",
            "8m_vs_9m",
            "25m",
            "5m_vs_6m",
            "3s5z",
            "10m_vs_11m",
            "MMM2",
            "3s5z_vs_3s6z",
            "27m_vs_30m",
            "corridor",
            "6h_vs_8z",
        ),
    ),
    "smacv2": (
        "harl_isaac.adapters.starcraft.settings:Smacv2Cfg",
        ("protoss_5_vs_5", "terran_5_vs_5", "zerg_5_vs_5", "zerg_10_vs_10", "zerg_10_vs_11"),
    ),
    "football": (
        "harl_isaac.adapters.football:FootballCfg",
        (
            "academy_pass_and_shoot_with_keeper",
            "academy_run_pass_and_shoot_with_keeper",
            "academy_3_vs_1_with_keeper",
            "academy_counterattack_easy",
            "academy_counterattack_hard",
            "academy_corner",
        ),
    ),
    "smax": (
        "harl_isaac.adapters.smax:SmaxCfg",
        (
            "3m",
            "8m",
            "25m",
            "2s3z",
            "3s5z",
            "5m_vs_6m",
            "10m_vs_11m",
            "27m_vs_30m",
            "3s5z_vs_3s6z",
            "3s_vs_5z",
            "6h_vs_8z",
            "smacv2_5_units",
            "smacv2_10_units",
            "smacv2_20_units",
        ),
    ),
}
TASKS.update({f"{family}/{name}": path for family, (path, names) in SCENARIOS.items() for name in names})
