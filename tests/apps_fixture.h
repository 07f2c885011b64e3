// The program `convnext`, run in a folder of the test's own.
#pragma once

#include <gmock/gmock.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "child_process.h"
#include "pictures.h"
#include "temporary_folder.h"
#include "tiny_model.h"

namespace convnext {

class Apps : public testing::Test {
 protected:
  // `convnext` with these arguments, in the test's own folder. Whatever is asked for ends in time.
  ChildResult run(std::vector<std::string> arguments, std::map<std::string, std::string> environment = {}) {
    arguments.insert(arguments.begin(), program_);
    environment.emplace("CONVNEXT_MODELS", (folder_ / "no-models").string());
    const ChildResult result = run_child(arguments, {.folder = folder_.path(), .environment = environment});
    EXPECT_FALSE(result.timed_out);
    EXPECT_NE(result.exit_code, -1) << "ended by a signal: " << result.err;
    return result;
  }

  // Must succeed; standard output must be one JSON document.
  nlohmann::json run_json(std::vector<std::string> arguments, int exit_code = 0) {
    arguments.push_back("--json");
    const ChildResult result = run(std::move(arguments));
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_TRUE(nlohmann::json::accept(result.out)) << result.out;
    return nlohmann::json::parse(result.out, nullptr, false);
  }

  // Fails with this exit code, a message that has all texts, nothing on standard output, and no new file.
  void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::vector<std::string>& texts) {
    const std::size_t before = folder_.entries();
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, testing::StartsWith("convnext: "));
    for (const std::string& text : texts) EXPECT_THAT(result.err, testing::HasSubstr(text));
    EXPECT_LT(result.err.size(), 2000u);
    EXPECT_THAT(result.out, testing::IsEmpty());
    EXPECT_EQ(folder_.entries(), before) << "a file was left behind";
  }

  std::string path(std::string_view name) const { return (folder_ / name).string(); }

  // The tiny model under this name.
  std::string model(std::string_view name = "tiny.safetensors", const Card& card = tiny_card()) {
    return write_tiny_model(folder_ / name, card).string();
  }

  // A picture under this name, of which no two seeds are equal.
  std::string picture(std::string_view name, std::uint64_t seed = 1) {
    write_picture(folder_ / name, formula_picture(40, 30, seed));
    return path(name);
  }

  std::string text_of(std::string_view name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  TemporaryFolder folder_;
  std::string program_ = CONVNEXT_PROGRAM;
};

}  // namespace convnext
