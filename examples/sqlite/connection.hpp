// SPDX-License-Identifier: MIT
// Connections and statements of SQLite, as objects: for code on a fiber, where a stop is an exception like others.
//
//   co_await sqlite::on_fiber([&] {
//     sqlite::connection items{"items.db"};
//     items.execute("INSERT …");
//   });
//
// How a stop gets out of SQLite's C. Where a call of SQLite's waits, the stop is held back: waiting.hpp. It is heard
// before each call that is made here, and by a statement that runs long, each thousand steps of its program: that ends
// as sqlite3_interrupt() would have it, SQLITE_INTERRUPT, and SQLite has undone what it had begun. A wait for a lock
// ends as SQLITE_BUSY, long before its time. All that is `interrupted` to C++ code, a std::exception, under which
// destructors can roll back and close, and await what that takes. on_fiber() makes a stop of it again.
//
// So a commit that SQLite has reported is reported: a stop that came meanwhile is heard of by the next call.
#pragma once

#include <gyre/runtime/fiber.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/this_task.hpp>

#include <sqlite3.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "vfs.hpp"

namespace sqlite {

/// What SQLite has refused, and why.
class error : public std::runtime_error {
 public:
  error(int code, const std::string& text) : std::runtime_error{text}, code_{code} {}

  /// An extended result code: SQLITE_BUSY, SQLITE_IOERR_READ, …
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  int code_;
};

/// The fiber is to stop, or somebody called sqlite3_interrupt().
class interrupted : public error {
 public:
  interrupted() : error{SQLITE_INTERRUPT, "interrupted"} {}
};

struct connection_options {
  const char* vfs = vfs_name;

  /// How long it waits for somebody else's lock.
  std::chrono::milliseconds patience = std::chrono::seconds{60};
};

/// A database that is open. One fiber's at a time.
class connection {
 public:
  /// Opens a database, or makes it.
  ///
  /// @errors        error
  /// @cancellation  interrupted, as of all that is done here: see the top of this file.
  /// @threads       On a fiber, but for the VFSs of SQLite's own, which work anywhere and make the thread wait.
  explicit connection(const std::string& path, const connection_options& options = {});

  /// Rolls back what was not committed.
  ~connection() = default;
  connection(connection&&) = default;
  connection& operator=(connection&&) = delete;

  /// Runs statements that give no rows, or whose rows nobody wants.
  void execute(const std::string& sql);

  /// The rows that statements give, each as text with '|' between its columns, as the sqlite3 program prints them.
  [[nodiscard]] std::vector<std::string> rows(const std::string& sql);

  [[nodiscard]] sqlite3* handle() const noexcept { return opened_.get(); }

 private:
  struct closer {
    void operator()(sqlite3* opened) const noexcept { sqlite3_close_v2(opened); }
  };
  std::unique_ptr<sqlite3, closer> opened_;
};

/// A statement that is run several times. Outlived by its connection.
class statement {
 public:
  statement(connection& in, std::string_view sql);

  /// Gives the values of its parameters, from the first on, and begins anew.
  template <class... Values>
  void bind(const Values&... values) {
    reset();
    int index = 0;
    (bind_one(++index, values), ...);
  }

  /// Runs on to the next row; false: there is none.
  bool step();

  /// Runs to its end.
  void run() {
    while (step()) {
    }
    reset();
  }

  void reset() noexcept { sqlite3_reset(prepared_.get()); }

  [[nodiscard]] std::int64_t integer(int column) const noexcept {
    return sqlite3_column_int64(prepared_.get(), column);
  }
  [[nodiscard]] std::string text(int column) const;

 private:
  struct finalizer {
    void operator()(sqlite3_stmt* prepared) const noexcept { sqlite3_finalize(prepared); }
  };
  void bind_one(int index, std::int64_t value);
  void bind_one(int index, const std::string& value);

  sqlite3* in_;
  std::unique_ptr<sqlite3_stmt, finalizer> prepared_;
};

/// Begins a transaction that writes; rolls back what was not committed.
class transaction {
 public:
  explicit transaction(connection& in) : in_{in} { in_.execute("BEGIN IMMEDIATE"); }
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;
  ~transaction() {
    if (sqlite3_get_autocommit(in_.handle()) == 0) sqlite3_exec(in_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
  }

  void commit() { in_.execute("COMMIT"); }

 private:
  connection& in_;
};

/// How much stack SQLite is given: it may go a thousand expressions deep (SQLITE_MAX_EXPR_DEPTH).
inline constexpr gyre::fiber_options stack_for_sqlite{.stack_bytes = std::size_t{1} << 20U};

/// Runs code that uses SQLite on a fiber. As gyre::on_fiber(), but that a stop unwinds it as `interrupted` does, where
/// SQLite was at work.
template <std::invocable Fn>
gyre::task<std::invoke_result_t<Fn&>> on_fiber(Fn fn) {
  try {
    co_return co_await gyre::on_fiber(std::move(fn), stack_for_sqlite);
  } catch (const interrupted&) {
    // Not from in here: an exception is being handled.
  }
  co_await gyre::this_task::checkpoint();
  throw interrupted{};  // nobody has stopped it: it was sqlite3_interrupt()
}

}  // namespace sqlite
