/* The same in C. */
#include <stdio.h>
#include <stdlib.h>

#include "convnext/c_api.h"

static convnext_error error;

static void require(convnext_status status) {
  if (status == CONVNEXT_OK) return;
  fprintf(stderr, "consumer: %s: %s\n", convnext_status_name(status), error.message);
  exit(1);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: consumer PICTURE\n");
    return 2;
  }
  enum { kResolution = 224, kPlane = kResolution * kResolution };
  static float values[3 * kPlane];
  const convnext_preprocessing imagenet = {
      kResolution, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}, 0.875, "bicubic", "center", "timm"};
  const convnext_buffer tensor = {values, sizeof values / sizeof *values};
  convnext_model* model = NULL;
  convnext_model* for_imagenet = NULL;
  convnext_image* picture = NULL;
  convnext_prediction best;
  require(convnext_model_load("convnext_cifar10", NULL, &model, &error));
  require(convnext_image_open(argv[1], NULL, &picture, &error));
  const convnext_image* const pictures[] = {picture};
  require(convnext_model_with_preprocessing(model, &imagenet, &for_imagenet, &error));
  require(convnext_preprocess(for_imagenet, NULL, pictures, 1, tensor, &error));
  require(convnext_classify(model, NULL, pictures, 1, 1, &best, &error));
  printf("%dx%d picture, first pixel %.4f %.4f %.4f\n", convnext_image_width(picture), convnext_image_height(picture),
         values[0], values[kPlane], values[2 * kPlane]);
  printf("%s\n", best.label);
  convnext_image_free(picture);
  convnext_model_free(for_imagenet);
  convnext_model_free(model);

  if (convnext_image_open("no_such_picture.png", NULL, &picture, &error) != CONVNEXT_NOT_FOUND) return 1;
  return picture == NULL ? 0 : 1;
}
