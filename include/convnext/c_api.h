/* convnext/c_api.h: the library for C, and for every language that can call C.
 *
 *   convnext_error error;
 *   convnext_model* model = NULL;
 *   convnext_image* image = NULL;
 *   convnext_prediction best[3];
 *   if (convnext_model_load("model.safetensors", NULL, &model, &error) != CONVNEXT_OK ||
 *       convnext_image_open("cat.jpg", NULL, &image, &error) != CONVNEXT_OK ||
 *       convnext_classify(model, NULL, (const convnext_image* const*)&image, 1, 3, best, &error) != CONVNEXT_OK) {
 *     fprintf(stderr, "%s\n", error.message);
 *   } else {
 *     printf("%s %.1f %%\n", best[0].label, 100 * best[0].probability);
 *   }
 *   convnext_image_free(image);
 *   convnext_model_free(model);
 *
 * Whatever can fail returns a status and takes, last, where the message goes; that may be NULL. A handle or buffer that
 * is NULL without leave to be, or a value out of range, is CONVNEXT_INVALID_ARGUMENT, never a crash. No C++ exception
 * comes out of a function. Results go to memory of the caller's; where a call fails they are not to be read, and a
 * handle that was to be made is NULL. Options are structs in which 0 stands for the default: `= {0}` is a good start.
 *
 * Threads: a convnext_model and a convnext_image are read only and may be used by any number of threads at once, a
 * convnext_context by one at a time. There is no state beside the handles.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef enum convnext_status {
  CONVNEXT_OK = 0,
  CONVNEXT_INVALID_ARGUMENT = 1, /* a value that can never be right */
  CONVNEXT_NOT_FOUND = 2,        /* no such file, model or class */
  CONVNEXT_IO = 3,               /* the operating system refused to read or write */
  CONVNEXT_DAMAGED = 4,          /* the bytes are not what the format promises */
  CONVNEXT_MISMATCH = 5,         /* both parts are whole, but do not belong together */
  CONVNEXT_UNSUPPORTED = 6,      /* well formed, but not something that this build can do */
  CONVNEXT_NOT_INSTALLED = 7,    /* needs a part that is not on this machine */
  CONVNEXT_OUT_OF_MEMORY = 8,
  CONVNEXT_CANCELLED = 9, /* by a progress function */
  CONVNEXT_INTERNAL = 10  /* a defect of the library's */
} convnext_status;

/* What went wrong, where, and how to mend it. Each call that it is given to sets it, to CONVNEXT_OK and "" on success.
 */
typedef struct convnext_error {
  convnext_status status;
  char message[1020]; /* UTF-8; what does not fit is cut off */
} convnext_error;

/* "out of memory"; never NULL. */
const char* convnext_status_name(convnext_status status);
/* "0.1.0" */
const char* convnext_version(void);

typedef struct convnext_model convnext_model;     /* a network and its card */
typedef struct convnext_context convnext_context; /* scratch memory and threads */
typedef struct convnext_image convnext_image;     /* decoded pixels */

/* What the network computes in; convnext/model.h says more. */
typedef enum convnext_precision {
  CONVNEXT_PRECISION_DEFAULT = 0, /* int8 if the file holds integers, else fp32 */
  CONVNEXT_PRECISION_FP32 = 1,
  CONVNEXT_PRECISION_BF16 = 2,
  CONVNEXT_PRECISION_INT8 = 3
} convnext_precision;

/* Called while a model is loaded, by the thread that loads it. `user` is the options'. */
typedef void (*convnext_log_function)(const char* line, void* user);
/* `part` in [0, 1] is done. Gives 0 to go on; anything else ends the loading with CONVNEXT_CANCELLED. */
typedef int (*convnext_progress_function)(double part, void* user);

/* How much of a file of weights is read at all; convnext/file_limits.h says what each bounds. 0: its default there. */
typedef struct convnext_file_limits {
  int64_t max_header_bytes;
  int64_t max_nesting;
  int64_t max_tensors;
  int64_t max_memo;
  int64_t max_zip_ratio;
} convnext_file_limits;

typedef struct convnext_load_options {
  const char* architecture; /* registered name, for weights without a card */
  const char* isa; /* "scalar", "avx2", "avx512", "avx512_bf16", "amx", "neon"; NULL: $CONVNEXT_ISA, then the best */
  int precision;   /* a convnext_precision */
  int threads;     /* 0: as many as the process may use */
  convnext_log_function log;
  convnext_progress_function progress;
  void* user;
  convnext_file_limits file_limits;
  /* A model whose threads this one uses too, in turn with it, in place of `threads`; NULL: none. Either may be freed
   * first. */
  const convnext_model* threads_of;
} convnext_load_options;

/* `path`: a file of weights, a folder with one, or a name that is looked for in $CONVNEXT_MODELS, ./models and the
 * folder of installed models. `options` may be NULL. */
convnext_status convnext_model_load(const char* path, const convnext_load_options* options, convnext_model** model,
                                    convnext_error* error);
/* NULL is nothing to free. Contexts live on without their model. */
void convnext_model_free(convnext_model* model);

/* What a model is. Texts live as long as the model. */
typedef struct convnext_description {
  const char* architecture; /* "convnext_tiny" */
  const char* isa;          /* "avx2" */
  convnext_precision precision;
  int classes;            /* 0: no classifier */
  int has_labels;         /* 0: the classes are called "class 0", "class 1", ... */
  int resolution;         /* side of the square that pictures become */
  int input_channels;     /* pictures need 3 */
  int embedding_channels; /* floats of an embedding */
  int stages;             /* maps of convnext_features() */
  int threads;
  uint64_t weight_bytes; /* as kept for running */
} convnext_description;
convnext_status convnext_model_describe(const convnext_model* model, convnext_description* description,
                                        convnext_error* error);
/* The name of a class; it lives as long as the model. */
convnext_status convnext_model_label(const convnext_model* model, int index, const char** label, convnext_error* error);
/* (channels, height, width) of a stage's map, for an input of that size. */
convnext_status convnext_model_feature_shape(const convnext_model* model, int stage, int64_t height, int64_t width,
                                             int64_t shape[3], convnext_error* error);

/* How pictures are prepared; convnext/image.h says what the names mean. */
typedef struct convnext_preprocessing {
  int resolution;
  float mean[3];
  float std[3];
  double crop_fraction;
  const char* interpolation; /* "bicubic" */
  const char* crop_mode;     /* "center" */
  const char* pipeline;      /* "timm" */
} convnext_preprocessing;
/* The texts are the library's and live for ever. */
convnext_status convnext_model_preprocessing(const convnext_model* model, convnext_preprocessing* preprocessing,
                                             convnext_error* error);
/* The same weights, shared, for pictures prepared otherwise, or with other names for the classes (`count` is that of
 * the classes, or 0). Each is a model of its own, to be freed. */
convnext_status convnext_model_with_preprocessing(const convnext_model* model,
                                                  const convnext_preprocessing* preprocessing, convnext_model** changed,
                                                  convnext_error* error);
convnext_status convnext_model_with_labels(const convnext_model* model, const char* const* labels, size_t count,
                                           convnext_model** changed, convnext_error* error);

typedef struct convnext_decode_options {
  int64_t max_pixels;   /* larger pictures are refused; 0: Pillow's limit, 178,956,970 */
  int exif_orientation; /* not 0: turned upright as the EXIF data say */
} convnext_decode_options;

/* JPEG, PNG or WebP, from a file or from its bytes. `options` may be NULL. */
convnext_status convnext_image_open(const char* path, const convnext_decode_options* options, convnext_image** image,
                                    convnext_error* error);
convnext_status convnext_image_decode(const void* bytes, size_t size, const convnext_decode_options* options,
                                      convnext_image** image, convnext_error* error);
/* A copy of RGB pixels, 8 bits a channel, rows from the top, `stride` bytes from one row to the next (0: 3 * width). */
convnext_status convnext_image_from_rgb(const uint8_t* pixels, int width, int height, size_t stride,
                                        convnext_image** image, convnext_error* error);
void convnext_image_free(convnext_image* image);
/* 0, and NULL, of no image. Rows of the pixels follow each other without a gap. */
int convnext_image_width(const convnext_image* image);
int convnext_image_height(const convnext_image* image);
const uint8_t* convnext_image_pixels(const convnext_image* image);

/* Scratch memory that is kept between calls: one for each thread that runs a model. `threads` 0: the model's own, which
 * all such contexts share and take turns on; 1: the calling thread alone, as fits a server of many requests; else as
 * many of its own. Functions that take a context make one for the call when it is NULL. */
convnext_status convnext_context_new(const convnext_model* model, int threads, convnext_context** context,
                                     convnext_error* error);
void convnext_context_free(convnext_context* context);

typedef struct convnext_prediction {
  int index;         /* of the class; -1 when the model has fewer classes than were asked for */
  float probability; /* softmax over all classes */
  const char* label; /* lives as long as the model */
} convnext_prediction;

/* The `top_k` most probable classes of each picture, best first: predictions[picture * top_k + place]. */
convnext_status convnext_classify(const convnext_model* model, convnext_context* context,
                                  const convnext_image* const* images, size_t count, int top_k,
                                  convnext_prediction* predictions, convnext_error* error);

/* Where floats go. `size`, in floats, is at least what is written. */
typedef struct convnext_buffer {
  float* data;
  size_t size;
} convnext_buffer;

/* Pooled features after the final norm, (count, embedding_channels). */
convnext_status convnext_embed(const convnext_model* model, convnext_context* context,
                               const convnext_image* const* images, size_t count, convnext_buffer embeddings,
                               convnext_error* error);
/* The raw output of each stage, (count, channels, height, width) as convnext_model_feature_shape() gives them for the
 * model's resolution. `maps` has one buffer a stage; those whose data is NULL are left out. */
convnext_status convnext_features(const convnext_model* model, convnext_context* context,
                                  const convnext_image* const* images, size_t count, const convnext_buffer* maps,
                                  size_t stages, convnext_error* error);

/* The steps these are made of. The input tensors of pictures, (count, 3, resolution, resolution): */
convnext_status convnext_preprocess(const convnext_model* model, convnext_context* context,
                                    const convnext_image* const* images, size_t count, convnext_buffer tensor,
                                    convnext_error* error);
/* What a run is asked for: buffers whose data is NULL are left out. */
typedef struct convnext_outputs {
  convnext_buffer logits;      /* (n, classes) */
  convnext_buffer pooled;      /* (n, embedding_channels) */
  const convnext_buffer* maps; /* of each stage; NULL: none */
  size_t stages;               /* how many; 0 without maps */
} convnext_outputs;
/* The network on float32, (n, channels, height, width), of any size that leaves the last stage a pixel. */
convnext_status convnext_run(const convnext_model* model, convnext_context* context, const float* input,
                             const int64_t shape[4], const convnext_outputs* outputs, convnext_error* error);
/* And the best classes of `count` rows of logits, as convnext_classify() gives them. */
convnext_status convnext_predictions(const convnext_model* model, const float* logits, size_t count, int top_k,
                                     convnext_prediction* predictions, convnext_error* error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
