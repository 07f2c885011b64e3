// Many pictures through a model, or two to compare, in batches: decoded and resized in parallel, then through the
// network.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "convnext/model.h"
#include "io/picture_file.h"

namespace convnext::apps {

// What the network is asked for.
enum class PictureOutput { kLogits, kPooled };

struct PictureResult {
  const std::filesystem::path& file;  // of the picture, or the archive that it is in
  int target;                         // as given to add()
  std::string error;                  // why the picture was skipped; empty when it was not
  std::span<const float> values;      // of its output; empty when it was skipped
  std::span<const float> other{};     // likewise, of the other model's
};

// Results come in the order of add(), whatever the batch. Memory holds one batch.
class PictureRunner {
 public:
  using Take = std::function<void(const PictureResult&)>;

  // On the model's threads. `batch_size` 0: as fits it. `other` gets the same pictures, prepared as the model's card
  // says. The models must outlive it.
  PictureRunner(const Model& model, PictureOutput output, int batch_size, const DecodeOptions& decode_options,
                Take take, const Model* other = nullptr);

  // Takes one picture; runs the batch when it is full.
  void add(PictureFile picture, int target = 0);
  void add(std::filesystem::path file) { add(PictureFile{.path = std::move(file), .member = {}}); }
  // A file that could not even be found takes its place in the order like any other.
  void add_failed(std::filesystem::path file, std::string error);
  // Runs what is left.
  void finish();

  std::int64_t done() const { return done_; }
  std::int64_t failed() const { return failed_; }

 private:
  struct Entry {
    PictureFile picture;
    int target = 0;
    std::string error;
    Tensor input;
  };
  void decode(Entry& entry) const;
  Tensor outputs_of(const Model& model, const Tensor& input);

  const Model& model_;
  const Model* other_;
  PictureOutput output_;
  Take take_;
  DecodeOptions decode_options_;
  Context context_;
  std::size_t batch_size_;
  std::vector<Entry> batch_;
  std::int64_t done_ = 0;
  std::int64_t failed_ = 0;
};

// Calls `visit` with each of `inputs`, which are picture files, or folders that are walked. A folder that cannot be
// read, or holds no picture, is visited itself, with an error that says so; of the others it is empty.
using VisitInput = std::function<void(const std::filesystem::path& file, const std::string& error)>;
void visit_inputs(const std::vector<std::string>& inputs, const VisitInput& visit);

// Gives each of them to `runner`, errors as failures.
void add_inputs(const std::vector<std::string>& inputs, PictureRunner& runner);

// How many pictures that will be; a folder that cannot be read counts as one.
std::int64_t count_inputs(const std::vector<std::string>& inputs);

}  // namespace convnext::apps
