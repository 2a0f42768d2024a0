// SPDX-License-Identifier: MIT
// run(): signals on the way in (detail/signal_stop.hpp), an exit status on the way out.
#include <gyre/runtime/detail/signal_stop.hpp>
#include <gyre/runtime/diagnosis.hpp>
#include <gyre/runtime/log.hpp>
#include <gyre/runtime/run.hpp>

#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace gyre {
namespace {

class stoppable_root final : public detail::stoppable {
 public:
  stoppable_root(root_task<int>& root, executor& loop) noexcept : root_{root}, loop_{loop} {}

  [[nodiscard]] bool done() const noexcept override { return root_.done(); }
  void stop(std::string_view reason) noexcept override { root_.cancel(reason); }
  [[nodiscard]] std::string tasks() override { return dump_tasks(loop_); }

 private:
  root_task<int>& root_;
  executor& loop_;
};

int run_on(executor& loop, task<int> body, const run_options& options) {
  root_task<int> root = loop.start(std::move(body));
  {
    stoppable_root stopped{root, loop};
    const detail::signal_stop stops_it{stopped, loop, options.grace_period};
    while (!root.done()) loop.turn_until_told();
  }
  return root.stopped() ? EXIT_SUCCESS : root.get();
}

}  // namespace

task<int> detail::with_status(task<> root) {
  co_await for_caller(std::move(root));
  co_return EXIT_SUCCESS;
}

int run(task<int> root, const run_options& options) {
  try {
    executor loop{options.executor};
    if (const std::string notes = loop.notes(); !notes.empty()) log::warning(notes);
    return run_on(loop, std::move(root), options);
  } catch (...) {
    log::exception("the program ends with an error", std::current_exception());
    return EXIT_FAILURE;
  }
}

int run(task<> root, const run_options& options) { return run(detail::with_status(std::move(root)), options); }

}  // namespace gyre
