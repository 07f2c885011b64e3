/* Every function of convnext/c_api.h, called from C. */
#include "c_api_checks.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convnext/c_api.h"

static int failures;

static void expect(int met, const char* condition, int line) {
  if (met) return;
  ++failures;
  fprintf(stderr, "c_api_checks.c:%d: not so: %s\n", line, condition);
}
#define EXPECT(condition) expect((condition) != 0, #condition, __LINE__)

/* The call ends with that status, says so in `error`, and its message has that text. */
static void expect_status(convnext_status got, convnext_status wanted, const convnext_error* error, const char* text,
                          int line) {
  if (got == wanted && error->status == wanted && strstr(error->message, text) != NULL &&
      (wanted != CONVNEXT_OK || error->message[0] == '\0')) {
    return;
  }
  ++failures;
  fprintf(stderr, "c_api_checks.c:%d: %s: %s\n  expected: %s: %s\n", line, convnext_status_name(got), error->message,
          convnext_status_name(wanted), text);
}
#define EXPECT_OK(call) expect_status(call, CONVNEXT_OK, &error, "", __LINE__)
#define EXPECT_ERROR(wanted, text, call) expect_status(call, wanted, &error, text, __LINE__)

static int is_close(const float* a, const float* b, size_t count) {
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < count; ++i) {
    difference += pow((double)a[i] - b[i], 2);
    size += pow((double)b[i], 2);
  }
  return sqrt(difference) <= 5e-6 * sqrt(size); /* false for a NaN */
}

static convnext_model* load(const char* path) {
  convnext_error error;
  convnext_model* model = NULL;
  EXPECT_OK(convnext_model_load(path, NULL, &model, &error));
  return model;
}

static convnext_image* open_picture(const struct fixture* fixture) {
  convnext_error error;
  convnext_image* image = NULL;
  EXPECT_OK(convnext_image_open(fixture->picture, NULL, &image, &error));
  return image;
}

int check_status_name(void) {
  failures = 0;
  for (int i = CONVNEXT_OK; i <= CONVNEXT_INTERNAL; ++i) {
    EXPECT(strcmp(convnext_status_name((convnext_status)i), "unknown") != 0);
  }
  EXPECT(strcmp(convnext_status_name(CONVNEXT_NOT_FOUND), "not found") == 0);
  EXPECT(strcmp(convnext_status_name((convnext_status)15), "unknown") == 0);
  return failures;
}

int check_version(void) {
  failures = 0;
  int major = 0, minor = 0, patch = 0;
  EXPECT(sscanf(convnext_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
  return failures;
}

int check_model_load(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = NULL;
  EXPECT_OK(convnext_model_load(fixture->model, NULL, &model, &error));
  EXPECT(model != NULL);
  convnext_model_free(model);
  EXPECT_OK(convnext_model_load(fixture->folder, NULL, &model, &error));
  convnext_model_free(model);

  EXPECT_ERROR(CONVNEXT_NOT_FOUND, "no_such_model", convnext_model_load("no_such_model", NULL, &model, &error));
  EXPECT(model == NULL);
  EXPECT_ERROR(CONVNEXT_DAMAGED, fixture->damaged, convnext_model_load(fixture->damaged, NULL, &model, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "path is NULL", convnext_model_load(NULL, NULL, &model, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL", convnext_model_load(fixture->model, NULL, NULL, &error));
  convnext_model_free(NULL);
  return failures;
}

int check_load_options(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = NULL;
  convnext_description description;

  convnext_load_options options = {0};
  options.architecture = "test_convnext2";
  options.isa = "scalar";
  options.precision = CONVNEXT_PRECISION_FP32;
  options.threads = 3;
  EXPECT_OK(convnext_model_load(fixture->model, &options, &model, &error));
  EXPECT_OK(convnext_model_describe(model, &description, &error));
  EXPECT(strcmp(description.isa, "scalar") == 0);
  EXPECT(description.precision == CONVNEXT_PRECISION_FP32);
  EXPECT(description.threads == 3);
  convnext_model_free(model);

  options.architecture = "convnext_tiny";
  EXPECT_ERROR(CONVNEXT_MISMATCH, "convnext_tiny", convnext_model_load(fixture->model, &options, &model, &error));
  EXPECT(model == NULL);
  options.architecture = NULL;
  options.isa = "mmx";
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "mmx", convnext_model_load(fixture->model, &options, &model, &error));
  options.isa = NULL;
  options.threads = -1;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "threads is -1",
               convnext_model_load(fixture->model, &options, &model, &error));
  options.threads = 0;
  options.precision = 7;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "7 is no convnext_precision",
               convnext_model_load(fixture->model, &options, &model, &error));
  return failures;
}

/* Threads of this process. */
static int thread_count(void) {
  DIR* tasks = opendir("/proc/self/task");
  int count = 0;
  if (tasks == NULL) return -1;
  for (const struct dirent* entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(tasks);
  return count;
}

int check_shared_threads(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_load_options options = {0};
  options.threads = 3;
  convnext_model* first = NULL;
  EXPECT_OK(convnext_model_load(fixture->model, &options, &first, &error));
  const int threads = thread_count();
  EXPECT(threads > 2);

  convnext_model* second = NULL;
  options.threads_of = first;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "threads_of", convnext_model_load(fixture->model, &options, &second, &error));
  EXPECT(second == NULL);
  options.threads = 0;
  EXPECT_OK(convnext_model_load(fixture->unlabelled, &options, &second, &error));
  EXPECT(thread_count() == threads);
  convnext_description description;
  EXPECT_OK(convnext_model_describe(second, &description, &error));
  EXPECT(description.threads == 3);

  convnext_model_free(first);
  float logits[kClasses];
  const int64_t shape[4] = {1, 3, kSide, kSide};
  const convnext_outputs outputs = {.logits = {logits, kClasses}};
  EXPECT_OK(convnext_run(second, NULL, fixture->input, shape, &outputs, &error));
  EXPECT(is_close(logits, fixture->logits, kClasses));
  convnext_model_free(second);
  EXPECT(thread_count() == threads - 2);
  return failures;
}

/* Each limit reaches the readers: 1 is too little of everything but of a zip archive's ratio. */
int check_file_limits(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = NULL;
  convnext_load_options options = {0};
  options.file_limits.max_header_bytes = 1;
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "--max-header-bytes",
               convnext_model_load(fixture->model, &options, &model, &error));
  options.file_limits = (convnext_file_limits){.max_nesting = 1};
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "--max-nesting", convnext_model_load(fixture->model, &options, &model, &error));
  options.file_limits = (convnext_file_limits){.max_tensors = 1};
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "--max-tensors", convnext_model_load(fixture->model, &options, &model, &error));
  options.file_limits = (convnext_file_limits){.max_memo = 1};
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "--max-memo", convnext_model_load(fixture->model, &options, &model, &error));
  options.file_limits = (convnext_file_limits){.max_zip_ratio = 1033};
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "--max-zip-ratio is 1033: expected 1 to 1,032",
               convnext_model_load(fixture->model, &options, &model, &error));
  options.file_limits = (convnext_file_limits){.max_nesting = -1};
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "--max-nesting is -1",
               convnext_model_load(fixture->model, &options, &model, &error));
  EXPECT(model == NULL);
  return failures;
}

static double cosine(const float* a, const float* b, size_t count) {
  double product = 0;
  double a_square = 0;
  double b_square = 0;
  for (size_t i = 0; i < count; ++i) {
    product += (double)a[i] * b[i];
    a_square += (double)a[i] * a[i];
    b_square += (double)b[i] * b[i];
  }
  return product / sqrt(a_square * b_square);
}

/* What a file is run in when it is asked for `asked`, and how near its logits then are to those in float32. */
static void expect_precision(const struct fixture* fixture, const char* file, int asked, convnext_precision given,
                             double least_cosine) {
  convnext_error error;
  convnext_model* model = NULL;
  convnext_description description;
  convnext_load_options options = {0};
  options.precision = asked;
  EXPECT_OK(convnext_model_load(file, &options, &model, &error));
  EXPECT_OK(convnext_model_describe(model, &description, &error));
  EXPECT(description.precision == given);
  const int64_t shape[4] = {1, 3, kSide, kSide};
  float logits[kClasses];
  convnext_outputs outputs = {{logits, kClasses}, {NULL, 0}, NULL, 0};
  EXPECT_OK(convnext_run(model, NULL, fixture->input, shape, &outputs, &error));
  EXPECT(cosine(logits, fixture->logits, kClasses) >= least_cosine);
  const int is_rounded = given != CONVNEXT_PRECISION_FP32 || file == fixture->int8;
  EXPECT(is_close(logits, fixture->logits, kClasses) == !is_rounded);
  convnext_model_free(model);
}

/* Cosines as in precision_test.cc: what a rounded weight costs. */
int check_precision(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = NULL;
  expect_precision(fixture, fixture->model, CONVNEXT_PRECISION_DEFAULT, CONVNEXT_PRECISION_FP32, 0.999999);
  expect_precision(fixture, fixture->int8, CONVNEXT_PRECISION_FP32, CONVNEXT_PRECISION_FP32, 0.999);

  convnext_load_options options = {0};
  options.isa = "scalar";
  options.precision = CONVNEXT_PRECISION_BF16;
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "bf16", convnext_model_load(fixture->model, &options, &model, &error));
  options.precision = CONVNEXT_PRECISION_INT8;
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "int8", convnext_model_load(fixture->model, &options, &model, &error));

  convnext_description description = {0};
  model = load(fixture->model);
  EXPECT_OK(convnext_model_describe(model, &description, &error));
  const int is_scalar = strcmp(description.isa, "scalar") == 0;
  convnext_model_free(model);
  if (is_scalar) return failures; /* which has no other precision, as above */
  expect_precision(fixture, fixture->model, CONVNEXT_PRECISION_BF16, CONVNEXT_PRECISION_BF16, 0.9999);
  expect_precision(fixture, fixture->model, CONVNEXT_PRECISION_INT8, CONVNEXT_PRECISION_INT8, 0.999);
  expect_precision(fixture, fixture->int8, CONVNEXT_PRECISION_DEFAULT, CONVNEXT_PRECISION_INT8, 0.999);
  expect_precision(fixture, fixture->int8, CONVNEXT_PRECISION_BF16, CONVNEXT_PRECISION_BF16, 0.999);
  return failures;
}

struct told {
  int lines;
  char last_line[200];
  int calls;
  double first, last;
  int falls;
  int stop;
};

static void log_line(const char* line, void* user) {
  struct told* told = user;
  ++told->lines;
  snprintf(told->last_line, sizeof told->last_line, "%s", line);
}

static int progress(double part, void* user) {
  struct told* told = user;
  if (told->calls == 0) told->first = part;
  if (told->calls > 0 && part < told->last) ++told->falls;
  ++told->calls;
  told->last = part;
  return told->stop;
}

int check_callbacks(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = NULL;
  struct told told = {0};
  convnext_load_options options = {0};
  options.log = log_line;
  options.progress = progress;
  options.user = &told;
  EXPECT_OK(convnext_model_load(fixture->with_a_note, &options, &model, &error));
  convnext_model_free(model);
  EXPECT(told.lines > 0);
  EXPECT(strstr(told.last_line, "decoder.weight") != NULL);
  EXPECT(told.calls > 1);
  EXPECT(told.first == 0.0);
  EXPECT(told.last == 1.0);
  EXPECT(told.falls == 0);

  told.stop = 1;
  EXPECT_ERROR(CONVNEXT_CANCELLED, "progress", convnext_model_load(fixture->model, &options, &model, &error));
  EXPECT(model == NULL);
  return failures;
}

int check_model_describe(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_description description;
  convnext_model* model = load(fixture->model);
  EXPECT_OK(convnext_model_describe(model, &description, &error));
  EXPECT(strcmp(description.architecture, "test_convnext2") == 0);
  EXPECT(description.isa != NULL && description.isa[0] != '\0');
  EXPECT(description.precision == CONVNEXT_PRECISION_FP32);
  EXPECT(description.classes == kClasses);
  EXPECT(description.has_labels == 1);
  EXPECT(description.resolution == kSide);
  EXPECT(description.input_channels == 3);
  EXPECT(description.embedding_channels == kChannels);
  EXPECT(description.stages == kStages);
  EXPECT(description.threads >= 1);
  EXPECT(description.weight_bytes > 0);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "description is NULL", convnext_model_describe(model, NULL, &error));
  convnext_model_free(model);

  model = load(fixture->embedder);
  EXPECT_OK(convnext_model_describe(model, &description, &error));
  EXPECT(description.classes == 0);
  EXPECT(description.has_labels == 0);
  convnext_model_free(model);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL", convnext_model_describe(NULL, &description, &error));
  return failures;
}

int check_model_label(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  const char* label = NULL;
  convnext_model* model = load(fixture->model);
  EXPECT_OK(convnext_model_label(model, 2, &label, &error));
  EXPECT(label != NULL && strcmp(label, "ship") == 0);
  EXPECT_ERROR(CONVNEXT_NOT_FOUND, "no class 4", convnext_model_label(model, kClasses, &label, &error));
  EXPECT(label == NULL);
  EXPECT_ERROR(CONVNEXT_NOT_FOUND, "no class -1", convnext_model_label(model, -1, &label, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "label is NULL", convnext_model_label(model, 0, NULL, &error));
  convnext_model_free(model);

  model = load(fixture->unlabelled);
  EXPECT_OK(convnext_model_label(model, 3, &label, &error));
  EXPECT(label != NULL && strcmp(label, "class 3") == 0);
  convnext_model_free(model);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL", convnext_model_label(NULL, 0, &label, &error));
  return failures;
}

int check_model_feature_shape(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  int64_t shape[3];
  convnext_model* model = load(fixture->model);
  EXPECT_OK(convnext_model_feature_shape(model, 0, 32, 64, shape, &error));
  EXPECT(shape[0] == 8 && shape[1] == 8 && shape[2] == 16);
  EXPECT_OK(convnext_model_feature_shape(model, 1, 32, 64, shape, &error));
  EXPECT(shape[0] == 16 && shape[1] == 4 && shape[2] == 8);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "no stage 2", convnext_model_feature_shape(model, 2, 32, 32, shape, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "no stage -1",
               convnext_model_feature_shape(model, -1, 32, 32, shape, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "7 x 32", convnext_model_feature_shape(model, 0, 7, 32, shape, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "", convnext_model_feature_shape(model, 0, INT64_MAX, -1, shape, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "larger than",
               convnext_model_feature_shape(model, 0, INT64_MAX, INT64_MAX, shape, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "shape is NULL",
               convnext_model_feature_shape(model, 0, 32, 32, NULL, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL",
               convnext_model_feature_shape(NULL, 0, 32, 32, shape, &error));
  convnext_model_free(model);
  return failures;
}

int check_model_preprocessing(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_preprocessing preprocessing;
  convnext_model* model = load(fixture->model);
  EXPECT_OK(convnext_model_preprocessing(model, &preprocessing, &error));
  convnext_model_free(model);
  EXPECT(preprocessing.resolution == kSide);
  EXPECT(memcmp(preprocessing.mean, fixture->mean, sizeof preprocessing.mean) == 0);
  EXPECT(memcmp(preprocessing.std, fixture->std, sizeof preprocessing.std) == 0);
  EXPECT(preprocessing.crop_fraction > 0 && preprocessing.crop_fraction <= 1);
  EXPECT(strcmp(preprocessing.interpolation, "bicubic") == 0);
  EXPECT(strcmp(preprocessing.crop_mode, "center") == 0);
  EXPECT(strcmp(preprocessing.pipeline, "timm") == 0);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL", convnext_model_preprocessing(NULL, &preprocessing, &error));
  model = load(fixture->model);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "preprocessing is NULL", convnext_model_preprocessing(model, NULL, &error));
  convnext_model_free(model);
  return failures;
}

int check_model_with_preprocessing(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_preprocessing preprocessing;
  convnext_preprocessing read_back;
  convnext_model* changed = NULL;
  convnext_model* model = load(fixture->model);
  EXPECT_OK(convnext_model_preprocessing(model, &preprocessing, &error));
  preprocessing.resolution = 48;
  preprocessing.mean[1] = 0.25f;
  preprocessing.std[2] = 0.75f;
  preprocessing.crop_fraction = 0.5;
  preprocessing.interpolation = "bilinear";
  preprocessing.crop_mode = "squash";
  preprocessing.pipeline = "torchvision";
  EXPECT_OK(convnext_model_with_preprocessing(model, &preprocessing, &changed, &error));
  EXPECT_OK(convnext_model_preprocessing(changed, &read_back, &error));
  EXPECT(read_back.resolution == 48);
  EXPECT(read_back.mean[1] == 0.25f && read_back.mean[0] == preprocessing.mean[0]);
  EXPECT(read_back.std[2] == 0.75f);
  EXPECT(read_back.crop_fraction == 0.5);
  EXPECT(strcmp(read_back.interpolation, "bilinear") == 0);
  EXPECT(strcmp(read_back.crop_mode, "squash") == 0);
  EXPECT(strcmp(read_back.pipeline, "torchvision") == 0);
  convnext_model_free(changed);

  preprocessing.pipeline = "opencv";
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "opencv",
               convnext_model_with_preprocessing(model, &preprocessing, &changed, &error));
  EXPECT(changed == NULL);
  preprocessing.pipeline = NULL;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "pipeline is NULL",
               convnext_model_with_preprocessing(model, &preprocessing, &changed, &error));
  preprocessing.pipeline = "timm";
  preprocessing.resolution = 0;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "resolution",
               convnext_model_with_preprocessing(model, &preprocessing, &changed, &error));
  preprocessing.resolution = 48;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL",
               convnext_model_with_preprocessing(NULL, &preprocessing, &changed, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "preprocessing is NULL",
               convnext_model_with_preprocessing(model, NULL, &changed, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "changed is NULL",
               convnext_model_with_preprocessing(model, &preprocessing, NULL, &error));
  convnext_model_free(model);
  return failures;
}

int check_model_with_labels(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  const char* const names[] = {"a", "b", "c", "d"};
  const char* const gap[] = {"a", NULL, "c", "d"};
  const char* label = NULL;
  convnext_model* changed = NULL;
  convnext_model* model = load(fixture->model);
  EXPECT_OK(convnext_model_with_labels(model, names, kClasses, &changed, &error));
  EXPECT_OK(convnext_model_label(changed, 3, &label, &error));
  EXPECT(label != NULL && strcmp(label, "d") == 0);
  convnext_model_free(changed);
  EXPECT_OK(convnext_model_with_labels(model, NULL, 0, &changed, &error));
  EXPECT_OK(convnext_model_label(changed, 1, &label, &error));
  EXPECT(label != NULL && strcmp(label, "class 1") == 0);
  convnext_model_free(changed);
  EXPECT_OK(convnext_model_label(model, 3, &label, &error));
  EXPECT(label != NULL && strcmp(label, "truck") == 0);

  EXPECT_ERROR(CONVNEXT_MISMATCH, "3", convnext_model_with_labels(model, names, 3, &changed, &error));
  EXPECT(changed == NULL);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "labels[1] is NULL",
               convnext_model_with_labels(model, gap, kClasses, &changed, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "labels is NULL",
               convnext_model_with_labels(model, NULL, kClasses, &changed, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL",
               convnext_model_with_labels(NULL, names, kClasses, &changed, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "changed is NULL",
               convnext_model_with_labels(model, names, kClasses, NULL, &error));
  convnext_model_free(model);
  return failures;
}

static void expect_picture(const struct fixture* fixture, const convnext_image* image) {
  EXPECT(convnext_image_width(image) == fixture->width);
  EXPECT(convnext_image_height(image) == fixture->height);
  EXPECT(convnext_image_pixels(image) != NULL);
  if (image == NULL) return;
  EXPECT(memcmp(convnext_image_pixels(image), fixture->pixels, (size_t)fixture->width * (size_t)fixture->height * 3) ==
         0);
}

int check_image_open(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_image* image = open_picture(fixture);
  expect_picture(fixture, image);
  convnext_image_free(image);

  convnext_decode_options options = {0};
  options.max_pixels = 100;
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "100", convnext_image_open(fixture->picture, &options, &image, &error));
  EXPECT(image == NULL);
  options.max_pixels = -1;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "max_pixels",
               convnext_image_open(fixture->picture, &options, &image, &error));
  options.max_pixels = 0;
  options.exif_orientation = 1;
  EXPECT_OK(convnext_image_open(fixture->picture, &options, &image, &error));
  convnext_image_free(image);

  EXPECT_ERROR(CONVNEXT_NOT_FOUND, "no_such.png", convnext_image_open("no_such.png", NULL, &image, &error));
  EXPECT(image == NULL);
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, fixture->damaged, convnext_image_open(fixture->damaged, NULL, &image, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "path is NULL", convnext_image_open(NULL, NULL, &image, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "image is NULL", convnext_image_open(fixture->picture, NULL, NULL, &error));
  convnext_image_free(NULL);
  EXPECT(convnext_image_width(NULL) == 0);
  EXPECT(convnext_image_height(NULL) == 0);
  EXPECT(convnext_image_pixels(NULL) == NULL);
  return failures;
}

int check_image_decode(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  static unsigned char bytes[1 << 16];
  size_t size = 0;
  FILE* file = fopen(fixture->picture, "rb");
  EXPECT(file != NULL);
  if (file != NULL) {
    size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
  }
  EXPECT(size > 0 && size < sizeof bytes);
  convnext_image* image = NULL;
  EXPECT_OK(convnext_image_decode(bytes, size, NULL, &image, &error));
  expect_picture(fixture, image);
  convnext_image_free(image);

  EXPECT_ERROR(CONVNEXT_DAMAGED, "", convnext_image_decode(bytes, size / 2, NULL, &image, &error));
  EXPECT(image == NULL);
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "", convnext_image_decode(NULL, 0, NULL, &image, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "bytes is NULL", convnext_image_decode(NULL, 5, NULL, &image, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "image is NULL", convnext_image_decode(bytes, size, NULL, NULL, &error));
  return failures;
}

int check_image_from_rgb(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_image* image = NULL;
  EXPECT_OK(convnext_image_from_rgb(fixture->pixels, fixture->width, fixture->height, 0, &image, &error));
  expect_picture(fixture, image);
  convnext_image_free(image);

  /* Rows with a gap behind each but the last. */
  const size_t row = (size_t)fixture->width * 3;
  const size_t stride = row + 5;
  uint8_t* padded = malloc(stride * (size_t)(fixture->height - 1) + row);
  EXPECT(padded != NULL);
  if (padded == NULL) return failures;
  for (size_t y = 0; y < (size_t)fixture->height; ++y) {
    memcpy(padded + y * stride, fixture->pixels + y * row, row);
    if (y + 1 < (size_t)fixture->height) memset(padded + y * stride + row, 77, stride - row);
  }
  EXPECT_OK(convnext_image_from_rgb(padded, fixture->width, fixture->height, stride, &image, &error));
  expect_picture(fixture, image);
  convnext_image_free(image);
  free(padded);

  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "stride",
               convnext_image_from_rgb(fixture->pixels, fixture->width, 2, row - 1, &image, &error));
  EXPECT(image == NULL);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "0 x 2", convnext_image_from_rgb(fixture->pixels, 0, 2, 0, &image, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "2 x -1", convnext_image_from_rgb(fixture->pixels, 2, -1, 0, &image, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "address",
               convnext_image_from_rgb(fixture->pixels, 2, 3, SIZE_MAX, &image, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "pixels is NULL", convnext_image_from_rgb(NULL, 2, 2, 0, &image, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "image is NULL",
               convnext_image_from_rgb(fixture->pixels, 2, 2, 0, NULL, &error));
  return failures;
}

int check_context_new(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_context* context = NULL;
  convnext_model* model = load(fixture->model);
  convnext_image* image = open_picture(fixture);
  const convnext_image* images[] = {image};
  float embedding[kChannels];
  const convnext_buffer buffer = {embedding, kChannels};
  for (int threads = 0; threads < 3; ++threads) {
    EXPECT_OK(convnext_context_new(model, threads, &context, &error));
    for (int again = 0; again < 2; ++again) {
      memset(embedding, 0, sizeof embedding);
      EXPECT_OK(convnext_embed(model, context, images, 1, buffer, &error));
      EXPECT(is_close(embedding, fixture->embedding, kChannels));
    }
    convnext_context_free(context);
  }
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "threads is -2", convnext_context_new(model, -2, &context, &error));
  EXPECT(context == NULL);
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL", convnext_context_new(NULL, 1, &context, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "context is NULL", convnext_context_new(model, 1, NULL, &error));
  convnext_context_free(NULL);

  /* A context may be freed after its model. */
  EXPECT_OK(convnext_context_new(model, 0, &context, &error));
  convnext_image_free(image);
  convnext_model_free(model);
  convnext_context_free(context);
  return failures;
}

int check_classify(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = load(fixture->model);
  convnext_image* image = open_picture(fixture);
  uint8_t grey[40 * 40 * 3];
  memset(grey, 128, sizeof grey);
  convnext_image* other = NULL;
  EXPECT_OK(convnext_image_from_rgb(grey, 40, 40, 0, &other, &error));

  int best = 0;
  for (int i = 1; i < kClasses; ++i) {
    if (fixture->logits[i] > fixture->logits[best]) best = i;
  }
  const convnext_image* images[] = {image, other, image};
  convnext_prediction predictions[3 * 6];
  /* Two more places than there are classes. */
  EXPECT_OK(convnext_classify(model, NULL, images, 3, 6, predictions, &error));
  for (int picture = 0; picture < 3; picture += 2) {
    const convnext_prediction* row = predictions + 6 * picture;
    EXPECT(row[0].index == best);
    double sum = 0;
    for (int place = 0; place < kClasses; ++place) {
      const char* label = NULL;
      EXPECT_OK(convnext_model_label(model, row[place].index, &label, &error));
      EXPECT(label == row[place].label);
      if (place > 0) EXPECT(row[place].probability <= row[place - 1].probability);
      sum += row[place].probability;
    }
    EXPECT(fabs(sum - 1) < 1e-6);
    EXPECT(row[4].index == -1 && row[4].label == NULL && row[4].probability == 0);
    EXPECT(row[5].index == -1);
  }
  EXPECT(predictions[6].probability != predictions[0].probability);
  EXPECT(fabs((double)predictions[12].probability - predictions[0].probability) < 1e-6);

  EXPECT_OK(convnext_classify(model, NULL, NULL, 0, 1, NULL, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "top_k is 0",
               convnext_classify(model, NULL, images, 1, 0, predictions, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "predictions is NULL",
               convnext_classify(model, NULL, images, 1, 1, NULL, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "images is NULL",
               convnext_classify(model, NULL, NULL, 1, 1, predictions, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL",
               convnext_classify(NULL, NULL, images, 1, 1, predictions, &error));
  images[1] = NULL;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "images[1] is NULL",
               convnext_classify(model, NULL, images, 2, 1, predictions, &error));
  convnext_model_free(model);
  model = load(fixture->embedder);
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "no classifier",
               convnext_classify(model, NULL, images, 1, 1, predictions, &error));
  convnext_model_free(model);
  model = load(fixture->five_channels);
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "takes 5", convnext_classify(model, NULL, images, 1, 1, predictions, &error));
  convnext_model_free(model);
  convnext_image_free(image);
  convnext_image_free(other);
  return failures;
}

int check_embed(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = load(fixture->model);
  convnext_image* image = open_picture(fixture);
  /* More than one batch of the library's. */
  enum { kCount = 20 };
  const convnext_image* images[kCount];
  for (int i = 0; i < kCount; ++i) images[i] = image;
  float rows[kCount * kChannels + 1];
  rows[kCount * kChannels] = 42;
  const convnext_buffer buffer = {rows, kCount * kChannels};
  EXPECT_OK(convnext_embed(model, NULL, images, kCount, buffer, &error));
  for (int i = 0; i < kCount; ++i) EXPECT(is_close(rows + i * kChannels, fixture->embedding, kChannels));
  EXPECT(rows[kCount * kChannels] == 42);

  const convnext_buffer small = {rows, kChannels - 1};
  const convnext_buffer none = {NULL, kChannels};
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "room for 15 floats", convnext_embed(model, NULL, images, 1, small, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "embeddings is NULL", convnext_embed(model, NULL, images, 1, none, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "images is NULL", convnext_embed(model, NULL, NULL, 1, buffer, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL", convnext_embed(NULL, NULL, images, 1, buffer, &error));
  EXPECT_OK(convnext_embed(model, NULL, NULL, 0, none, &error));
  convnext_image_free(image);
  convnext_model_free(model);
  return failures;
}

int check_features(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = load(fixture->model);
  convnext_image* image = open_picture(fixture);
  const convnext_image* images[] = {image, image};
  enum { kFirst = 8 * 8 * 8, kSecond = 16 * 4 * 4 };
  static float first[2 * kFirst];
  static float second[2 * kSecond];
  convnext_buffer maps[] = {{first, 2 * kFirst}, {second, 2 * kSecond}};
  EXPECT_OK(convnext_features(model, NULL, images, 2, maps, kStages, &error));
  for (int i = 0; i < 2; ++i) {
    EXPECT(is_close(first + i * kFirst, fixture->maps[0], kFirst));
    EXPECT(is_close(second + i * kSecond, fixture->maps[1], kSecond));
  }
  /* Only the last one. */
  memset(first, 0, sizeof first);
  memset(second, 0, sizeof second);
  maps[0].data = NULL;
  EXPECT_OK(convnext_features(model, NULL, images, 1, maps, kStages, &error));
  EXPECT(first[0] == 0 && is_close(second, fixture->maps[1], kSecond));

  maps[1].size = kSecond - 1;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "maps[1] has room for 255",
               convnext_features(model, NULL, images, 1, maps, kStages, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "3 maps", convnext_features(model, NULL, images, 1, maps, 3, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "maps is NULL",
               convnext_features(model, NULL, images, 1, NULL, kStages, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "images is NULL",
               convnext_features(model, NULL, NULL, 1, maps, kStages, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL",
               convnext_features(NULL, NULL, images, 1, maps, kStages, &error));
  convnext_image_free(image);
  convnext_model_free(model);
  return failures;
}

int check_preprocess(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = load(fixture->model);
  convnext_image* image = open_picture(fixture);
  const convnext_image* images[] = {image, image};
  static float tensor[2 * kInputSize];
  const convnext_buffer buffer = {tensor, 2 * kInputSize};
  EXPECT_OK(convnext_preprocess(model, NULL, images, 2, buffer, &error));
  EXPECT(memcmp(tensor, fixture->input, kInputSize * sizeof(float)) == 0);
  EXPECT(memcmp(tensor + kInputSize, fixture->input, kInputSize * sizeof(float)) == 0);

  const convnext_buffer small = {tensor, kInputSize - 1};
  const convnext_buffer none = {NULL, kInputSize};
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "room for 3071", convnext_preprocess(model, NULL, images, 1, small, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "tensor is NULL", convnext_preprocess(model, NULL, images, 1, none, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "images is NULL", convnext_preprocess(model, NULL, NULL, 1, buffer, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL", convnext_preprocess(NULL, NULL, images, 1, buffer, &error));
  convnext_model_free(model);
  model = load(fixture->five_channels);
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "takes 5", convnext_preprocess(model, NULL, images, 1, buffer, &error));
  convnext_model_free(model);
  convnext_image_free(image);
  return failures;
}

int check_run(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = load(fixture->model);
  const int64_t shape[4] = {1, 3, kSide, kSide};
  float logits[kClasses];
  float pooled[kChannels];
  static float first[8 * 8 * 8];
  static float second[16 * 4 * 4];
  const convnext_buffer maps[] = {{first, 8 * 8 * 8}, {second, 16 * 4 * 4}};
  convnext_outputs outputs = {{logits, kClasses}, {pooled, kChannels}, maps, kStages};
  EXPECT_OK(convnext_run(model, NULL, fixture->input, shape, &outputs, &error));
  EXPECT(is_close(logits, fixture->logits, kClasses));
  EXPECT(is_close(pooled, fixture->embedding, kChannels));
  EXPECT(is_close(first, fixture->maps[0], 8 * 8 * 8));
  EXPECT(is_close(second, fixture->maps[1], 16 * 4 * 4));

  convnext_outputs only_pooled = {{NULL, 0}, {pooled, kChannels}, NULL, 0};
  memset(pooled, 0, sizeof pooled);
  EXPECT_OK(convnext_run(model, NULL, fixture->input, shape, &only_pooled, &error));
  EXPECT(is_close(pooled, fixture->embedding, kChannels));

  outputs.logits.size = kClasses - 1;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "logits has room for 3",
               convnext_run(model, NULL, fixture->input, shape, &outputs, &error));
  outputs.logits.size = kClasses;
  outputs.stages = 1;
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "1 maps", convnext_run(model, NULL, fixture->input, shape, &outputs, &error));
  outputs.stages = kStages;
  const int64_t four_channels[4] = {1, 4, kSide, kSide};
  EXPECT_ERROR(CONVNEXT_MISMATCH, "4 channels",
               convnext_run(model, NULL, fixture->input, four_channels, &outputs, &error));
  const int64_t tiny[4] = {1, 3, 3, 3};
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "3 x 3", convnext_run(model, NULL, fixture->input, tiny, &outputs, &error));
  const int64_t negative[4] = {-1, 3, kSide, kSide};
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "-1", convnext_run(model, NULL, fixture->input, negative, &outputs, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "input is NULL", convnext_run(model, NULL, NULL, shape, &outputs, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "shape is NULL",
               convnext_run(model, NULL, fixture->input, NULL, &outputs, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "outputs is NULL",
               convnext_run(model, NULL, fixture->input, shape, NULL, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL",
               convnext_run(NULL, NULL, fixture->input, shape, &outputs, &error));
  convnext_model_free(model);
  return failures;
}

int check_predictions(const struct fixture* fixture) {
  failures = 0;
  convnext_error error;
  convnext_model* model = load(fixture->model);
  const float logits[2 * kClasses] = {0, 0, 0, 3, 5, 0, 0, 0};
  convnext_prediction best[2];
  EXPECT_OK(convnext_predictions(model, logits, 2, 1, best, &error));
  EXPECT(best[0].index == 3 && strcmp(best[0].label, "truck") == 0);
  EXPECT(fabs(best[0].probability - exp(3) / (exp(3) + 3)) < 1e-6);
  EXPECT(best[1].index == 0 && strcmp(best[1].label, "cat") == 0);

  EXPECT_OK(convnext_predictions(model, NULL, 0, 1, NULL, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "top_k is -1", convnext_predictions(model, logits, 1, -1, best, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "logits is NULL", convnext_predictions(model, NULL, 1, 1, best, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "predictions is NULL",
               convnext_predictions(model, logits, 1, 1, NULL, &error));
  EXPECT_ERROR(CONVNEXT_INVALID_ARGUMENT, "model is NULL", convnext_predictions(NULL, logits, 1, 1, best, &error));
  convnext_model_free(model);
  model = load(fixture->embedder);
  EXPECT_ERROR(CONVNEXT_UNSUPPORTED, "no classifier", convnext_predictions(model, logits, 1, 1, best, &error));
  convnext_model_free(model);
  return failures;
}

int check_errors(const struct fixture* fixture) {
  failures = 0;
  /* Nobody has to take the message. */
  convnext_model* model = NULL;
  EXPECT(convnext_model_load(NULL, NULL, &model, NULL) == CONVNEXT_INVALID_ARGUMENT);
  EXPECT(convnext_model_load(fixture->model, NULL, &model, NULL) == CONVNEXT_OK);

  /* One that is too long ends between two characters: names here are of two bytes each. */
  static char name[2 * 1000 + 1];
  for (size_t i = 0; i < 2000; i += 2) memcpy(name + i, "\xC3\xA9", 2);
  convnext_error error;
  convnext_image* image = NULL;
  EXPECT(convnext_image_open(name, NULL, &image, &error) != CONVNEXT_OK);
  const size_t size = strlen(error.message);
  EXPECT(size == sizeof error.message - 1 || size == sizeof error.message - 2);
  EXPECT((unsigned char)error.message[size - 1] == 0xA9);

  /* Success clears it. */
  convnext_description description;
  EXPECT_OK(convnext_model_describe(model, &description, &error));
  convnext_model_free(model);
  return failures;
}
