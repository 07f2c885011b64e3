// convnext-train eval shares the options of convnext eval, and says which of them it cannot follow.
#include <gmock/gmock.h>

#include "child_process.h"
#include "pictures.h"
#include "temporary_folder.h"
#include "tiny_model.h"

namespace convnext {
namespace {

TEST(TrainEvalPrecision, IsFp32OrRefused) {
  const TemporaryFolder folder;
  const std::string model = write_tiny_model(folder / "tiny.safetensors").string();
  write_picture(folder / "pictures/cat/one.png", formula_picture(50, 40, 3));
  const auto run = [&](const char* precision) {
    return run_child({CONVNEXT_TRAIN_PROGRAM, "eval", "pictures", "--model", model, "--precision", precision},
                     {.folder = folder.path(), .environment = {}});
  };
  const ChildResult exact = run("fp32");
  EXPECT_EQ(exact.exit_code, 0) << exact.err;
  for (const char* other : {"bf16", "int8"}) {
    const ChildResult result = run(other);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, testing::AllOf(testing::HasSubstr(other), testing::HasSubstr("libtorch"),
                                           testing::HasSubstr("fp32"), testing::HasSubstr("engine")));
  }
}

}  // namespace
}  // namespace convnext
