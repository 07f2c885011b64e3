// draw_pictures FOLDER: a small data set for trying the commands of the documents, train and val of two classes.
#include "tests/drawn_pictures.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  for (const auto& [split, count, seed] : {std::tuple{"train", 16, 0}, std::tuple{"val", 4, 1000}}) {
    convnext::draw_pictures(folder / split, count, static_cast<std::uint64_t>(seed));
    // The documents speak of cats and dogs.
    std::filesystem::rename(folder / split / "cross", folder / split / "cat");
    std::filesystem::rename(folder / split / "square", folder / split / "dog");
  }
  return 0;
}
