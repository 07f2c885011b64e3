// The commands of `convnext`, one file each.
#pragma once

#include "apps/program.h"

namespace CLI {
class App;
}

namespace convnext::apps {

// Each adds its command with its options to the program's parser. When the command line names it, `chosen` becomes what
// is to be done.
void add_list(CLI::App& program, Command& chosen);
void add_info(CLI::App& program, Command& chosen);
void add_init(CLI::App& program, Command& chosen);
void add_inspect(CLI::App& program, Command& chosen);
void add_verify(CLI::App& program, Command& chosen);
void add_convert(CLI::App& program, Command& chosen);
void add_quantize(CLI::App& program, Command& chosen);
void add_classify(CLI::App& program, Command& chosen);
void add_embed(CLI::App& program, Command& chosen);
void add_eval(CLI::App& program, Command& chosen);
void add_coco_eval(CLI::App& program, Command& chosen);
void add_preprocess(CLI::App& program, Command& chosen);
void add_run(CLI::App& program, Command& chosen);
void add_bench(CLI::App& program, Command& chosen);

}  // namespace convnext::apps
