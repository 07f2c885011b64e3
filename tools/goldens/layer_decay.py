"""Layers of a ConvNeXt for layer-wise learning rate decay, from the parameter names of the authors' files.

    layer_of("stages.2.4.dwconv.weight", depths=(3, 3, 27, 3), grouping="grouped")       4 of 0..13

Groupings, as in the authors' two repositories and what we make of them for other depths:
    single   a layer a block: 1..N, the stem and each downsample with the block after it. Head: N + 1. (ConvNeXt V2)
    grouped  a layer three consecutive blocks of a stage, each downsample with the first of its stage. Stem: 0; head:
             one more than the last. For depths 3,3,27,3 the authors' twelve layers (ConvNeXt).
    tiny     six layers of blocks: 1, 2, the third stage in three, 6. Stem: 0; head: 7. For depths 3,3,9,3 the authors'
             (detection); other depths cut the third stage as evenly as possible, and a network without four stages, all
             of its blocks in six.
The learning rate of layer l is the schedule's times decay^(head's layer - l).
"""

PUBLISHED_TWELVE = (3, 3, 27, 3)
PUBLISHED_SIX = (3, 3, 9, 3)


def authors_name(name):
    """The authors' name of a parameter that timm calls `name`; the isotropic networks read as one stage."""
    parts = name.split(".")
    if parts[0] == "stem":
        return ".".join(["downsample_layers", "0", *parts[1:]])
    if parts[0] == "stages" and parts[2] == "downsample":
        return ".".join(["downsample_layers", parts[1], *parts[3:]])
    if parts[0] == "stages":
        return ".".join(["stages", parts[1], *parts[3:]])
    return name  # head, norms of the head


def published_layer(name, last_group):
    """The authors' table for depths 3,3,3n,3 with n + 3 groups."""
    kind, *numbers = name.split(".")
    if kind == "downsample_layers":
        return {0: 0, 1: 2, 2: 3, 3: last_group}[int(numbers[0])]
    if kind == "stages":
        stage, block = int(numbers[0]), int(numbers[1])
        return {0: 1, 1: 2, 2: 3 + block // 3, 3: last_group}[stage]
    return last_group + 1


def groups_of_blocks(depths, grouping):
    """Per stage, the layer of each block."""
    if grouping == "tiny":
        if len(depths) == 4:
            third = [3 + block * 3 // depths[2] for block in range(depths[2])]
            return [[1] * depths[0], [2] * depths[1], third, [6] * depths[3]]
        total, numbers = sum(depths), iter(range(sum(depths)))
        return [[1 + next(numbers) * 6 // total for _ in range(depth)] for depth in depths]
    size = 1 if grouping == "single" else 3
    stages, layer = [], 0
    for depth in depths:
        stage = []
        for block in range(depth):
            if block % size == 0:
                layer += 1
            stage.append(layer)
        stages.append(stage)
    return stages


def head_layer(depths, grouping):
    return 7 if grouping == "tiny" else groups_of_blocks(depths, grouping)[-1][-1] + 1


def layer_of(name, depths, grouping):
    """The layer of a parameter under the authors' name."""
    if grouping == "grouped" and tuple(depths) == PUBLISHED_TWELVE:
        return published_layer(name, 12)
    if grouping == "tiny" and tuple(depths) == PUBLISHED_SIX:
        return published_layer(name, 6)
    blocks = groups_of_blocks(depths, grouping)
    kind, *numbers = name.split(".")
    if kind == "downsample_layers":
        return 0 if numbers[0] == "0" and grouping != "single" else blocks[int(numbers[0])][0]
    if kind == "stages":
        return blocks[int(numbers[0])][int(numbers[1])]
    return head_layer(depths, grouping)


def decayed(name, rank):
    """Whether weight decay applies to a parameter: not to vectors (norms, layer scale), biases or GRN."""
    return not (rank == 1 or name.endswith(".bias") or ".grn." in name)
