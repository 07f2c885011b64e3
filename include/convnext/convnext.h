// convnext/convnext.h: everything that the runtime library offers.
#pragma once

#include "convnext/error.h"        // IWYU pragma: export
#include "convnext/file_limits.h"  // IWYU pragma: export
#include "convnext/image.h"        // IWYU pragma: export
#include "convnext/model.h"        // IWYU pragma: export
#include "convnext/tensor.h"       // IWYU pragma: export
#include "convnext/thread_pool.h"  // IWYU pragma: export
