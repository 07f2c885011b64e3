// One model, many threads: what convnext/model.h promises, as the thread sanitizer sees it.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "convnext/convnext.h"
#include "temporary_folder.h"
#include "tensor_compare.h"
#include "tiny_model.h"

namespace convnext {
namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 5;

class SharedModel : public testing::Test {
 protected:
  // Calls `work` from all threads at once.
  static void from_all_threads(const std::function<void(int thread)>& work) {
    std::atomic<int> waiting{kThreads};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        --waiting;
        while (waiting > 0) std::this_thread::yield();
        for (int round = 0; round < kRounds; ++round) work(thread);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  TemporaryFolder folder_;
  const Model model_ = Model::load(write_tiny_model(folder_ / "model.safetensors"), {.threads = 2});
  const Image picture_ = formula_picture(50, 40, 3);
  const std::vector<float> embedding_ = model_.embed(picture_);
};

TEST_F(SharedModel, FormsWithoutAContextShareTheModelsThreads) {
  const std::vector<Image> pictures(3, picture_);
  from_all_threads([&](int thread) {
    if (thread % 2 == 0) {
      EXPECT_TRUE(tensors_close(model_.embed(picture_), embedding_));
      EXPECT_EQ(model_.classify(picture_, 1).size(), 1u);
    } else {
      const Tensor rows = model_.embed(pictures);
      EXPECT_TRUE(tensors_close(rows.values<float>().last(embedding_.size()), embedding_));
    }
  });
}

// As a server has it: a context of one thread for each thread that answers.
TEST_F(SharedModel, ContextsOfOneThreadRunBesideEachOther) {
  std::vector<Context> contexts;
  for (int i = 0; i < kThreads; ++i) contexts.emplace_back(model_, 1);
  from_all_threads([&](int thread) {
    Context& own = contexts[static_cast<std::size_t>(thread)];
    EXPECT_TRUE(tensors_close(model_.embed(picture_, own), embedding_));
    EXPECT_EQ(model_.features(picture_, own).size(), 2u);
  });
}

TEST_F(SharedModel, ContextsShareAPool) {
  ThreadPool pool(3);
  std::vector<Context> contexts;
  for (int i = 0; i < kThreads; ++i) contexts.emplace_back(model_, pool);
  from_all_threads([&](int thread) {
    EXPECT_TRUE(tensors_close(model_.embed(picture_, contexts[static_cast<std::size_t>(thread)]), embedding_));
  });
}

TEST_F(SharedModel, IsCopiedChangedAndLetGoWhileItRuns) {
  Preprocessing other = model_.preprocessing();
  other.resolution = 48;
  from_all_threads([&](int) {
    const Model copy = model_;
    const Model renamed = copy.with_labels({"a", "b", "c", "d"});
    EXPECT_EQ(renamed.classify(picture_, 4).size(), 4u);
    EXPECT_EQ(model_.with_preprocessing(other).features(picture_).front().shape(), (Shape{1, 8, 12, 12}));
    EXPECT_EQ(copy.labels().front(), "cat");
  });
}

TEST_F(SharedModel, SeveralAreLoadedAtOnce) {
  from_all_threads([&](int) {
    const Model loaded = Model::load(folder_ / "model.safetensors", {.threads = 1});
    EXPECT_TRUE(tensors_close(loaded.embed(picture_), embedding_));
  });
}

}  // namespace
}  // namespace convnext
