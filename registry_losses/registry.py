"""The registries of scope ``registry_losses``, one child for every MMEngine root.

This module imports MMEngine and nothing else: an ``ImportError`` raised while it
loads would surface as a misleading "not in the registry". Every root has a child
here because MMEngine warns about, and falls back to the root for, a scope that
lacks one.

Losses, heads, necks, backbones and detectors live in :data:`MODELS`; assigners,
samplers, coders, prior generators and match costs live in :data:`TASK_UTILS`.
"""

from mmengine import registry as _root
from mmengine.registry import Registry

SCOPE = 'registry_losses'

_LOCATIONS = ['registry_losses']


def _child(name: str, parent: Registry) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE, locations=_LOCATIONS)


MODELS = _child('model', _root.MODELS)
TASK_UTILS = _child('task util', _root.TASK_UTILS)

DATASETS = _child('dataset', _root.DATASETS)
DATA_SAMPLERS = _child('data sampler', _root.DATA_SAMPLERS)
TRANSFORMS = _child('transform', _root.TRANSFORMS)
FUNCTIONS = _child('function', _root.FUNCTIONS)
METRICS = _child('metric', _root.METRICS)
EVALUATOR = _child('evaluator', _root.EVALUATOR)

HOOKS = _child('hook', _root.HOOKS)
LOOPS = _child('loop', _root.LOOPS)
RUNNERS = _child('runner', _root.RUNNERS)
RUNNER_CONSTRUCTORS = _child('runner constructor', _root.RUNNER_CONSTRUCTORS)
STRATEGIES = _child('strategy', _root.STRATEGIES)
LOG_PROCESSORS = _child('log processor', _root.LOG_PROCESSORS)
INFERENCERS = _child('inferencer', _root.INFERENCERS)

MODEL_WRAPPERS = _child('model wrapper', _root.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child('weight initializer', _root.WEIGHT_INITIALIZERS)
OPTIMIZERS = _child('optimizer', _root.OPTIMIZERS)
OPTIM_WRAPPERS = _child('optim wrapper', _root.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child('optim wrapper constructor', _root.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child('parameter scheduler', _root.PARAM_SCHEDULERS)

VISUALIZERS = _child('visualizer', _root.VISUALIZERS)
VISBACKENDS = _child('vis backend', _root.VISBACKENDS)
