// Batches: the same whatever the number of workers and wherever an epoch is begun.
#include "train/loader.h"

#include <gmock/gmock.h>

#include <set>
#include <vector>

#include "tests/drawn_pictures.h"
#include "tests/temporary_folder.h"

namespace convnext {
namespace {

Preprocessing small_preprocessing() {
  Preprocessing preprocessing;
  preprocessing.resolution = 16;
  preprocessing.crop_fraction = 1.0;
  return preprocessing;
}

TEST(Loader, GivesTheSameBatchesWhateverTheNumberOfWorkers) {
  const TemporaryFolder folder;
  draw_pictures(folder / "train", 12);
  ThreadPool pool(2);
  const PictureSource source(read_image_folder(folder / "train"), small_preprocessing(), pool);
  const PictureSource uncached(read_image_folder(folder / "train"), small_preprocessing(), pool, {.memory_limit = 0});
  const auto load = [](const PictureSource& pictures, int workers, int epoch) {
    const LoaderOptions options{
        .batch_size = 5, .workers = workers, .prefetch = 2, .seed = 3, .augmentation = {.crop_padding = 2}};
    EpochLoader loader(pictures, options, epoch);
    std::vector<torch::Tensor> batches;
    while (auto batch = loader.next()) {
      batches.push_back(torch::cat({batch->pictures.flatten(), batch->targets.to(torch::kFloat32)}));
    }
    return torch::stack(batches);
  };
  const torch::Tensor one = load(source, 1, 0);
  EXPECT_EQ(one.size(0), 24 / 5);
  EXPECT_TRUE(torch::equal(one, load(source, 3, 0)));
  EXPECT_TRUE(torch::equal(one, load(uncached, 2, 0)));
  EXPECT_FALSE(torch::equal(one, load(source, 1, 1))) << "each epoch has its own order and augmentation";
}

TEST(Loader, BeginsInTheMiddleOfAnEpoch) {
  const TemporaryFolder folder;
  draw_pictures(folder / "train", 12);
  ThreadPool pool(1);
  const PictureSource source(read_image_folder(folder / "train"), small_preprocessing(), pool);
  const LoaderOptions options{.batch_size = 5};
  EpochLoader whole(source, options, 2), rest(source, options, 2, /*first_batch=*/3);
  for (int i = 0; i < 3; ++i) whole.next();
  const auto expected = whole.next(), found = rest.next();
  ASSERT_TRUE(expected && found);
  EXPECT_TRUE(torch::equal(found->pictures, expected->pictures));
  EXPECT_EQ(found->samples, expected->samples);
  EXPECT_FALSE(rest.next().has_value());
  EpochLoader none(source, options, 2, /*first_batch=*/4);
  EXPECT_FALSE(none.next().has_value());
}

TEST(Loader, ShowsEveryPictureOnceAnEpoch) {
  const TemporaryFolder folder;
  draw_pictures(folder / "train", 8);
  ThreadPool pool(1);
  const PictureSource source(read_image_folder(folder / "train"), small_preprocessing(), pool);
  EpochLoader loader(source, {.batch_size = 1, .augmentation = {.flip_probability = 0}}, 0);
  std::multiset<std::vector<float>> found, expected;
  while (auto batch = loader.next()) {
    const torch::Tensor picture = batch->pictures[0].contiguous();
    found.emplace(picture.const_data_ptr<float>(), picture.const_data_ptr<float>() + picture.numel());
  }
  for (std::size_t i = 0; i < source.samples().size(); ++i) {
    std::vector<float> pixels(3 * 16 * 16);
    normalize(source.get(i), small_preprocessing(), pixels);
    expected.insert(std::move(pixels));
  }
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace convnext
