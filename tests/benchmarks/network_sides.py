"""Both sides of `networks_against_torch`, each for a process of its own: `OurSide` and `TorchSide`."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

DETECTOR = "retinanet_r50fpn"
NETWORKS = ("efficientnet_lite0", "efficientnet_b0", DETECTOR)
PASSES = ("forward", "step")
CLASSIFIER_CLASSES, DETECTOR_CLASSES = 1000, 91
LEARNING_RATE, MOMENTUM = 1e-4, 0.9
Passes = dict[str, Callable[[], Any]]  # by name in PASSES; done when the call returns


def make_inputs(name: str, batch: int, size_px: int) -> dict[str, np.ndarray]:
    """Random images (NHWC) and targets, the same on both sides; a detector's are dense."""
    random = np.random.default_rng(0)
    inputs = {"images": random.normal(size=(batch, size_px, size_px, 3)).astype(np.float32)}
    if name != DETECTOR:
        return inputs | {"classes": random.integers(0, CLASSIFIER_CLASSES, batch)}
    num_anchors = 9 * sum((-(-size_px // 2**level)) ** 2 for level in range(3, 8))
    classes = random.integers(1, DETECTOR_CLASSES, (batch, num_anchors))
    is_negative = random.random(classes.shape) < 0.9
    boxes = random.normal(size=(*classes.shape, 4)).astype(np.float32)
    return inputs | {"classes": np.where(is_negative, -1, classes), "boxes": boxes}


class OurSide:
    """Our networks under jax.jit; the step gives its state's memory away."""

    def __init__(self, name: str, inputs: dict[str, np.ndarray]) -> None:
        import jax

        jax.config.update("jax_enable_compilation_cache", False)  # compile times are reported
        self.model, self.name = our_model(name), name
        self.inputs = jax.tree.map(jax.numpy.asarray, inputs)
        self.images = self.inputs["images"]
        shapes = jax.eval_shape(partial(self.model.init, train=False), jax.random.key(0), self.images)
        self.variables = draw_variables(shapes)

    def weights(self) -> dict[str, np.ndarray]:
        """Every variable by its path, slashes between."""
        import jax

        leaves = jax.tree_util.tree_leaves_with_path(self.variables)
        return {"/".join(key.key for key in path): leaf for path, leaf in leaves}

    def build(self) -> dict[str, Any]:
        """Compile both passes; return what there is to compare and to report."""
        import jax

        from selftrain_jax.train.optimizer import momentum_sgd

        self.tx = momentum_sgd(momentum=MOMENTUM, weight_decay=0.0)
        variables = jax.tree.map(jax.numpy.asarray, self.variables)
        params, statistics = (jax.tree.map(jax.numpy.array, variables[k]) for k in ("params", "batch_stats"))
        self.state = (params, statistics, self.tx.init(params))
        forward, forward_secs = timed_compile(jax.jit(self.forward), variables, self.images)
        step = jax.jit(self.step, donate_argnums=0)
        self.compiled_step, step_secs = timed_compile(step, self.state, self.inputs)
        self.passes: Passes = {
            "forward": lambda: jax.block_until_ready(forward(variables, self.images)),
            "step": self.train,
        }
        return {
            "outputs": [np.asarray(output) for output in jax.tree.leaves(self.passes["forward"]())],
            "loss": self.train(),
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
            "compile_secs": {"forward": forward_secs, "step": step_secs},
        }

    def forward(self, variables: Any, images: Any) -> Any:
        return self.model.apply(variables, images, train=False)

    def step(self, state: Any, inputs: Any) -> Any:
        """Update parameters, statistics and momenta once; return the loss too."""
        import jax

        params, statistics, momenta = state
        gradient = jax.value_and_grad(self.loss_of, has_aux=True)
        (loss, statistics), gradients = gradient(params, statistics, inputs)
        updates, momenta = self.tx.update(gradients, momenta, params)
        params = jax.tree.map(lambda w, update: w - LEARNING_RATE * update, params, updates)
        return (params, statistics, momenta), loss

    def loss_of(self, params: Any, statistics: Any, inputs: Any) -> Any:
        variables = {"params": params, "batch_stats": statistics}
        outputs, changed = self.model.apply(variables, inputs["images"], train=True, mutable=["batch_stats"])
        return our_loss(self.name, outputs, inputs), changed["batch_stats"]

    def train(self) -> float:
        import jax

        self.state, loss = jax.block_until_ready(self.compiled_step(self.state, self.inputs))
        return float(loss)


def timed_compile(function: Any, *args: Any) -> tuple[Any, float]:
    """Trace and compile a jitted function; return it and the seconds."""
    start = time.perf_counter()
    return function.lower(*args).compile(), time.perf_counter() - start


def our_model(name: str) -> Any:
    """Make the network, nothing in it random."""
    from selftrain_jax.models.classifier import make_classifier
    from selftrain_jax.models.retinanet import make_retinanet

    if name == DETECTOR:
        return make_retinanet(backbone="resnet50", num_classes=DETECTOR_CLASSES)
    return make_classifier(name, CLASSIFIER_CLASSES, drop_connect_rate=0.0).clone(dropout_rate=0.0)


def our_loss(name: str, outputs: Any, inputs: Any) -> Any:
    """Mean cross-entropy, or focal + 50 · Huber an anchor."""
    from selftrain_jax.classification.task import cross_entropy
    from selftrain_jax.detection.losses import box_loss, focal_loss

    if name != DETECTOR:
        return cross_entropy(outputs, inputs["classes"], 0.0).mean()
    logits, boxes = outputs
    return (focal_loss(logits, inputs["classes"][..., None]) + 50.0 * box_loss(boxes, inputs["boxes"])).mean()


def draw_variables(shapes: Any) -> Any:
    """Draw every variable, so that a module that is off shows in the outputs."""
    import jax

    random = np.random.default_rng(1)

    def draw(path: tuple[Any, ...], leaf: Any) -> np.ndarray:
        noise, name = random.normal(size=leaf.shape), path[-1].key
        if name == "kernel":
            noise *= np.sqrt(1 / np.prod(leaf.shape[:-1]))
        elif name == "var":
            noise = 1 + 0.1 * np.abs(noise)
        else:
            noise = 0.1 * noise + (name == "scale")
        return noise.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


class TorchSide:
    """Torch's networks with our weights; each pass in its fastest form."""

    def __init__(self, name: str, inputs: dict[str, np.ndarray], num_threads: int, may_compile: bool) -> None:
        import torch

        torch.set_num_threads(num_threads)
        self.name, self.may_compile = name, may_compile
        self.images = torch.from_numpy(inputs["images"]).permute(0, 3, 1, 2).contiguous()
        self.targets = [torch.from_numpy(inputs[key]) for key in ("classes", "boxes") if key in inputs]

    def build(self, weights: dict[str, np.ndarray]) -> dict[str, Any]:
        """Try the forms; return what there is to compare and to report."""
        self.passes: Passes = {}
        best_secs, forms = dict.fromkeys(PASSES, float("inf")), {}
        report: dict[str, Any] = {}
        for form in self.forms():
            network, passes = self.make(weights, form)
            if not report:  # the first form is ours to the pixel
                outputs = passes["forward"]()
                outputs = outputs if isinstance(outputs, tuple) else (outputs,)
                report["outputs"] = [output.numpy() for output in outputs]
                report["loss"] = passes["step"]()
                report["parameters"] = sum(parameter.numel() for parameter in network.parameters())
            for key in PASSES:
                passes[key]()
                secs = min(seconds_of(passes[key]) for _ in range(2))
                if secs < best_secs[key]:
                    best_secs[key], forms[key], self.passes[key] = secs, " ".join(form), passes[key]
        return {**report, "forms": forms}

    def forms(self) -> list[tuple[str, ...]]:
        """Layout, padding and whether it is compiled, ours first."""
        paddings = ("same",) if self.name == DETECTOR else ("same", "symmetric")
        forms = [(layout, padding) for padding in paddings for layout in ("channels_last", "channels_first")]
        return forms + [(*form, "compiled") for form in forms if self.may_compile]

    def make(self, weights: dict[str, np.ndarray], form: tuple[str, ...]) -> tuple[Any, Passes]:
        """Build the network in a form and both its passes."""
        import torch

        from tests.benchmarks import torch_networks

        is_detector = self.name == DETECTOR
        network: Any = torch_networks.make_network(
            self.name, DETECTOR_CLASSES if is_detector else CLASSIFIER_CLASSES
        )
        load_weights(network, weights)
        if form[1] == "symmetric":
            for module in network.modules():
                if isinstance(module, torch_networks.Conv):
                    torch_networks.symmetric(module)
        layout = torch.channels_last if form[0] == "channels_last" else torch.contiguous_format
        network, images = network.to(memory_format=layout), self.images.to(memory_format=layout)
        run = torch.compile(network) if "compiled" in form else network
        loss_of = torch_networks.detector_loss if is_detector else torch_networks.classifier_loss
        optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, MOMENTUM, fused=True)

        def forward() -> Any:
            network.eval()
            with torch.inference_mode():
                return run(images)

        def step() -> float:
            network.train()
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(run(images), *self.targets)
            loss.backward()
            optimizer.step()
            return loss.item()

        return network, {"forward": forward, "step": step}


def load_weights(network: Any, weights: dict[str, np.ndarray]) -> None:
    """Copy ours in; every tensor of the network must get one and every one of ours must fit."""
    import torch

    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    tensors = {}
    for path, value in weights.items():
        *modules, leaf = path.split("/")[1:]
        if leaf == "kernel":  # HWIO to OIHW, [C, K] to [K, C]
            value = value.transpose((3, 2, 0, 1) if value.ndim == 4 else (1, 0))
        tensors[".".join([*modules, names.get(leaf, leaf)])] = torch.tensor(np.ascontiguousarray(value))
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    assert not [*missing, *unexpected], f"the networks differ: {missing[:5]}, {unexpected[:5]}"


def seconds_of(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def take_turn(function: Callable[[], Any], turn_secs: float) -> float:
    """Return the median seconds of a call, over at least two and `turn_secs`; the first is a warm-up."""
    function()
    times: list[float] = []
    while len(times) < 2 or sum(times) < turn_secs:
        times.append(seconds_of(function))
    last = function()
    assert not isinstance(last, float) or np.isfinite(last), "training diverged: its times say nothing"
    return float(np.median(times))
