// What the families put into the registry; only registry.cc calls these.
#pragma once

#include <functional>
#include <string>

#include "model/registry.h"

namespace convnext {

// Adds a network. `weights` is the tag of the published weights whose preprocessing and accuracy are the entry's, ""
// where nobody published any. The reference holds until the next call; aliases can be set through it.
using AddNetwork =
    std::function<RegistryEntry&(Family family, std::string name, NetworkConfig network, std::string weights)>;

void add_resnets(const AddNetwork& add);
void add_regnets(const AddNetwork& add);
void add_efficientnets(const AddNetwork& add);
void add_vision_transformers(const AddNetwork& add);
void add_swins(const AddNetwork& add);
// The steps of the paper's journey that are no ResNet and no ConvNeXt.
void add_roadmap(const AddNetwork& add);

}  // namespace convnext
