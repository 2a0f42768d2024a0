// SPDX-License-Identifier: MIT
// Calls of SQLite's, and how a stop is heard between and within them.
#include "connection.hpp"

#include <gyre/runtime/scope.hpp>

#include <limits>

namespace sqlite {
namespace {

constexpr int steps_between_looks = 1000;  // of a statement's program: some 20 us

gyre::task<bool> give_way() {
  co_await gyre::shield(gyre::this_task::yield());
  co_return co_await gyre::this_task::stop_requested();
}

// A statement that computes lets others run, too.
int look_around(void*) noexcept {
  if (!gyre::fiber::is_current()) return 0;
  if (gyre::fiber::is_stopped()) return 1;
  try {
    return gyre::fiber::await(give_way()) ? 1 : 0;
  } catch (...) {
    return 1;
  }
}

// Not on a fiber that unwinds already: what its destructors ask for is done.
void throw_if_stopped() {
  if (!gyre::fiber::is_current() || gyre::fiber::is_stopped()) return;
  if (gyre::fiber::await(gyre::this_task::stop_requested())) throw interrupted{};
}

[[noreturn]] void fail(sqlite3* in) {
  const int code = sqlite3_extended_errcode(in);
  if (code == SQLITE_INTERRUPT) throw interrupted{};
  if ((code & 0xff) == SQLITE_BUSY) throw_if_stopped();  // it may have waited for longer
  throw error{code, sqlite3_errmsg(in)};
}

}  // namespace

connection::connection(const std::string& path, const connection_options& options) {
  throw_if_stopped();
  if (std::string_view{options.vfs} == vfs_name) register_vfs();
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &opened, open_flags, options.vfs);
  opened_.reset(opened);  // also one that failed has to be closed
  if (opened == nullptr) throw std::bad_alloc{};
  if (code != SQLITE_OK) fail(opened);
  sqlite3_extended_result_codes(opened, 1);
  sqlite3_busy_timeout(opened, static_cast<int>(options.patience.count()));
  sqlite3_progress_handler(opened, steps_between_looks, &look_around, nullptr);
}

void connection::execute(const std::string& sql) {
  throw_if_stopped();
  if (sqlite3_exec(handle(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(handle());
}

std::vector<std::string> connection::rows(const std::string& sql) {
  throw_if_stopped();
  std::vector<std::string> found;
  const auto keep = [](void* into, int count, char** values, char**) noexcept {
    try {
      auto& row = static_cast<std::vector<std::string>*>(into)->emplace_back();
      for (int column = 0; column < count; ++column) {
        if (column > 0) row += '|';
        if (values[column] != nullptr) row += values[column];
      }
      return 0;
    } catch (...) {
      return 1;
    }
  };
  if (sqlite3_exec(handle(), sql.c_str(), keep, &found, nullptr) != SQLITE_OK) fail(handle());
  return found;
}

statement::statement(connection& in, std::string_view sql) : in_{in.handle()} {
  throw_if_stopped();
  sqlite3_stmt* prepared = nullptr;
  const int code =
      sqlite3_prepare_v3(in_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &prepared, nullptr);
  prepared_.reset(prepared);
  if (code != SQLITE_OK) fail(in_);
}

void statement::bind_one(int index, std::int64_t value) {
  if (sqlite3_bind_int64(prepared_.get(), index, value) != SQLITE_OK) fail(in_);
}

void statement::bind_one(int index, const std::string& value) {
  const auto bound =
      sqlite3_bind_text64(prepared_.get(), index, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (bound != SQLITE_OK) fail(in_);
}

bool statement::step() {
  throw_if_stopped();
  const int code = sqlite3_step(prepared_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  fail(in_);
}

std::string statement::text(int column) const {
  const auto* const value = sqlite3_column_text(prepared_.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(prepared_.get(), column));
  return value == nullptr ? std::string{} : std::string{reinterpret_cast<const char*>(value), size};
}

}  // namespace sqlite
