/* The same as classify_picture.cc, in C: classify_picture_c MODEL PICTURE */
#include <stdio.h>

#include "convnext/c_api.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: classify_picture_c MODEL PICTURE\n");
    return 2;
  }
  enum { kBest = 3 };
  convnext_error error;
  convnext_model* model = NULL;
  convnext_image* image = NULL;
  convnext_prediction best[kBest];
  convnext_status status = convnext_model_load(argv[1], NULL, &model, &error);
  if (status == CONVNEXT_OK) status = convnext_image_open(argv[2], NULL, &image, &error);
  if (status == CONVNEXT_OK) {
    const convnext_image* const images[] = {image};
    status = convnext_classify(model, NULL, images, 1, kBest, best, &error);
  }
  if (status == CONVNEXT_OK) {
    for (int i = 0; i < kBest && best[i].index >= 0; ++i) {
      printf("%5.1f %%  %s\n", 100 * best[i].probability, best[i].label);
    }
  } else {
    fprintf(stderr, "classify_picture_c: %s\n", error.message);
  }
  convnext_image_free(image);
  convnext_model_free(model);
  return status == CONVNEXT_OK ? 0 : 1;
}
