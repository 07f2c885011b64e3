"""Outputs of ResNet and ResNeXt, computed by timm in float64: tests/goldens/resnets/<kind>.safetensors.

As networks.py does for ConvNeXt: weights are fill(model, SEED), the running statistics of batch norms among them, the
input is formula_input("input", shape, SEED), and accuracy.json tells how far timm's own float32 run is from each output,
and how far networks are that are wrong in one thing.

The kind training is of the training mode: logits of one forward pass, and the running statistics behind it.
"""

import copy
import dataclasses

import timm
import torch
from formula import fill, formula_input
from network_golden import SEED, write_network, write_networks
from timm.models.resnet import Bottleneck


@dataclasses.dataclass
class Kind:
    architecture: str
    size: tuple  # (height, width) of the input
    overrides: dict = dataclasses.field(default_factory=dict)
    batch: int = 1
    outputs: tuple = ()  # all of them when empty
    training: bool = False


# The stem has 64 channels in timm whatever the width of the first stage.
SMALL = dict(depths=[1, 2, 2, 1], dims=[64, 32, 48, 80], classes=11)
WHOLE = ("pooled", "logits")

KINDS = {
    "resnet50": Kind("resnet50", (70, 58), outputs=WHOLE),
    "resnet50_stages": Kind("resnet50", (38, 35), SMALL),
    "resnext50_32x4d": Kind("resnext50_32x4d", (70, 58), outputs=WHOLE),
    "resnext50_32x4d_stages": Kind("resnext50_32x4d", (38, 35), SMALL),
    "training": Kind("resnet50", (70, 58), dict(SMALL, depths=[1, 1, 1, 1]), batch=4, training=True),
}

_TIMM_ARGUMENTS = {"depths": "layers", "dims": "channels", "classes": "num_classes"}


def build(kind):
    arguments = {_TIMM_ARGUMENTS[key]: value for key, value in kind.overrides.items()}
    model = timm.create_model(kind.architecture, pretrained=False, **arguments)
    return fill(model, SEED).train(kind.training)


def stages_of(model):
    return [model.layer1, model.layer2, model.layer3, model.layer4]


def blocks_of(model):
    return [module for module in model.modules() if isinstance(module, Bottleneck)]


def run(model, x):
    """Arrays by name: logits, pooled, stages.0, stages.1, ...; in training mode logits and the running statistics."""
    outputs = {}
    with torch.no_grad():
        if model.training:
            outputs["logits"] = model(x)
            statistics = ("running_mean", "running_var")
            outputs.update({name: value for name, value in model.named_buffers() if name.endswith(statistics)})
        else:
            features = model.maxpool(model.act1(model.bn1(model.conv1(x))))
            for i, stage in enumerate(stages_of(model)):
                features = stage(features)
                outputs[f"stages.{i}"] = features.clone()
            outputs["pooled"] = model.forward_head(features, pre_logits=True)
            outputs["logits"] = model.forward_head(features)
            # The whole forward is the reference; the parts above are only to look inside it.
            assert torch.equal(outputs["logits"], model(x))
    return {name: tensor.double().numpy().copy() for name, tensor in outputs.items()}


def batch_norms_of(model):
    return [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def drop_block(block):
    """Leaves only the shortcut."""
    torch.nn.init.zeros_(block.bn3.weight)
    torch.nn.init.zeros_(block.bn3.bias)


def stride_first(model):
    """The stride of a block on its first convolution, as in the original ResNet of 2015."""
    for block in blocks_of(model):
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


def change_epsilon(model):
    for norm in batch_norms_of(model):
        norm.eps = 1e-3


def change_momentum(model):
    for norm in batch_norms_of(model):
        norm.momentum = 0.01


def leave_out_activation(model):
    """None after the sum."""
    for block in blocks_of(model):
        block.act3 = torch.nn.Identity()


def change_activation(model):
    model.act1 = torch.nn.GELU()
    for block in blocks_of(model):
        block.act1 = block.act2 = block.act3 = torch.nn.GELU()


def turn_filters(block):
    """Those of the 3x3 convolution last to first: in ResNeXt every group has those of another."""
    block.conv2.weight.data = block.conv2.weight.data.flip(0)


def pool_average(model):
    model.maxpool = torch.nn.AvgPool2d(kernel_size=3, stride=2, padding=1)


def leave_out_norm_of_shortcut(model):
    for stage in stages_of(model):
        stage[0].downsample[1] = torch.nn.Identity()



def mutations(kind, model):
    """Changes by name; each takes a copy of the model."""
    changes = {
        "stride on the first convolution": stride_first,
        "epsilon 1e-3": change_epsilon,
        "no activation after the sum": leave_out_activation,
        "GELU": change_activation,
        "average pool in the stem": pool_average,
        "no norm on the shortcut": leave_out_norm_of_shortcut,
    }
    if kind.training:
        changes["momentum 0.01"] = change_momentum
        changes["running statistics"] = lambda m: m.eval()
        return changes
    for i in range(len(blocks_of(model))):
        changes[f"block {i} dropped"] = lambda m, i=i: drop_block(blocks_of(m)[i])
        changes[f"block {i} filters turned"] = lambda m, i=i: turn_filters(blocks_of(m)[i])
    return changes


def make(name, kind, path):
    shape = (kind.batch, 3, *kind.size)
    x = torch.from_numpy(formula_input("input", shape, SEED))
    model = build(kind)

    def outputs_of(model, x):
        found = run(model, x)
        return {key: found[key] for key in kind.outputs or found}

    def wrong():
        for change_name, change in mutations(kind, model).items():
            mutant = copy.deepcopy(model).double()
            change(mutant)
            yield change_name, outputs_of(mutant, x.double())

    exact = outputs_of(copy.deepcopy(model).double(), x.double())
    # In training mode a run changes the module.
    single = outputs_of(copy.deepcopy(model), x)
    return write_network(path, kind.architecture, kind.overrides, shape, exact, single, wrong())


if __name__ == "__main__":
    write_networks("resnets", KINDS, make)
