/* What c_api_checks.c, in C, is given by c_api_test.cc, in C++: files to load, and what the C++ interface makes of
 * them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { kClasses = 4, kChannels = 16, kSide = 32, kInputSize = 3 * 32 * 32, kStages = 2 };

struct fixture {
  const char* model;         /* two stages of 8 and 16 channels, at 32 pixels; classes cat, dog, ship and truck */
  const char* unlabelled;    /* the same without labels */
  const char* embedder;      /* the same without a classifier */
  const char* five_channels; /* the same for inputs of five channels */
  const char* int8;          /* the same with weights of 8 bits */
  const char* folder;        /* of model.safetensors */
  const char* damaged;       /* not a file of weights */
  const char* with_a_note;   /* the same, and a tensor "num_batches_tracked" that is no part of it */
  const char* picture;       /* a PNG file */
  const uint8_t* pixels;     /* what it holds: RGB, without gaps */
  int width;
  int height;
  const float* mean;      /* of the preprocessing, (3) */
  const float* std;       /* likewise */
  const float* input;     /* what becomes of the picture: (3, 32, 32) */
  const float* logits;    /* and of that */
  const float* embedding; /* (16) */
  const float* maps[2];   /* (8, 8, 8), (16, 4, 4) */
};

/* Each gives the number of expectations that were not met, having said which on standard error. */
int check_status_name(void);
int check_version(void);
int check_model_load(const struct fixture* fixture);
int check_load_options(const struct fixture* fixture);
int check_shared_threads(const struct fixture* fixture);
int check_file_limits(const struct fixture* fixture);
int check_precision(const struct fixture* fixture);
int check_callbacks(const struct fixture* fixture);
int check_model_describe(const struct fixture* fixture);
int check_model_label(const struct fixture* fixture);
int check_model_feature_shape(const struct fixture* fixture);
int check_model_preprocessing(const struct fixture* fixture);
int check_model_with_preprocessing(const struct fixture* fixture);
int check_model_with_labels(const struct fixture* fixture);
int check_image_open(const struct fixture* fixture);
int check_image_decode(const struct fixture* fixture);
int check_image_from_rgb(const struct fixture* fixture);
int check_context_new(const struct fixture* fixture);
int check_classify(const struct fixture* fixture);
int check_embed(const struct fixture* fixture);
int check_features(const struct fixture* fixture);
int check_preprocess(const struct fixture* fixture);
int check_run(const struct fixture* fixture);
int check_predictions(const struct fixture* fixture);
int check_errors(const struct fixture* fixture);

#ifdef __cplusplus
}
#endif
