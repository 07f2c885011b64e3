// What a program runs networks with: `convnext` its engine, `convnext-train` libtorch. Commands that both have ask
// here.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "engine/backend.h"
#include "model/card.h"

namespace convnext::apps {

// Each program defines it. Throws RunByTrainingProgram in `convnext` for a family that the engine does not run: a
// command asks before it writes anything.
std::unique_ptr<Backend> program_backend(const Card& card);

// Ends a command of `convnext` that `convnext-train` is to do in its place. The message is what is done there: "a
// resnet50 is run".
class RunByTrainingProgram : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace convnext::apps
