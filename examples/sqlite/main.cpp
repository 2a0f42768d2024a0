// SPDX-License-Identifier: MIT
// Fills a database from many connections at once, on one thread, and asks it some questions.
//
//   sqlite_load DATABASE CONNECTIONS ROWS          each connection adds ROWS rows, beside the others
//   sqlite_load DATABASE CONNECTIONS ROWS unix     the same by SQLite's own VFS, one connection after the other
//
// A connection adds a hundred rows in a transaction, and says `committed CONNECTION ROWS` when they are on the device:
// how many rows of its own are there. Started again, it goes on from there. The last lines are answers of the database,
// which do not depend on who came first.
//
// Ctrl-C stops it: what was not committed is rolled back.
#include <gyre/runtime/run.hpp>
#include <gyre/runtime/task_group.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "connection.hpp"

namespace {

constexpr std::int64_t rows_in_a_transaction = 100;
constexpr std::int64_t numbers_of_an_owner = 1'000'000'000;  // so that each has numbers of its own

struct job {
  std::string path;
  std::int64_t connections = 1;
  std::int64_t rows = 0;
  sqlite::connection_options how;
};

constexpr const char* schema =
    "CREATE TABLE IF NOT EXISTS items(id INTEGER PRIMARY KEY, owner INTEGER, name TEXT, amount INTEGER);"
    "CREATE TABLE IF NOT EXISTS totals(owner INTEGER PRIMARY KEY, rows INTEGER, amount INTEGER);"
    "CREATE INDEX IF NOT EXISTS by_amount ON items(amount, id);";

constexpr const char* questions =
    "SELECT 'rows', count(*), sum(amount), count(DISTINCT owner) FROM items;"
    "SELECT 'totals', sum(rows), sum(amount) FROM totals;"
    "SELECT 'unlike', count(*) FROM totals t WHERE rows <> (SELECT count(*) FROM items i WHERE i.owner = t.owner);"
    "SELECT 'least', id, name, amount FROM items ORDER BY amount, id LIMIT 3;"
    "SELECT 'often', amount % 100 AS part, count(*) AS n FROM items GROUP BY part ORDER BY n DESC, part LIMIT 3;"
    "SELECT 'names', min(name), max(name), sum(length(name)) FROM items;"
    "PRAGMA integrity_check;";

// By no order that an index would like.
std::int64_t amount_of(std::int64_t id) noexcept {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(id) * 0x9e37'79b9'7f4a'7c15U >> 44U);
}

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

// Adds the next rows of an owner, and what they come to, at one blow. Returns how many it has then.
std::int64_t add_some(sqlite::connection& to, std::int64_t owner, std::int64_t rows_max) {
  sqlite::transaction adding{to};
  sqlite::statement counting{to, "SELECT rows FROM totals WHERE owner = ?"};
  counting.bind(owner);
  const std::int64_t before = counting.step() ? counting.integer(0) : 0;
  counting.reset();

  const std::int64_t after = std::min(before + rows_in_a_transaction, rows_max);
  sqlite::statement inserting{to, "INSERT INTO items VALUES(?, ?, ?, ?)"};
  std::int64_t sum = 0;
  for (std::int64_t row = before; row < after; ++row) {
    const std::int64_t id = owner * numbers_of_an_owner + row;
    inserting.bind(id, owner, "item " + std::to_string(id), amount_of(id));
    inserting.run();
    sum += amount_of(id);
  }
  sqlite::statement noting{to,
                           "INSERT INTO totals VALUES(?1, ?2, ?3)"
                           " ON CONFLICT(owner) DO UPDATE SET rows = ?2, amount = amount + ?3"};
  noting.bind(owner, after, sum);
  noting.run();
  adding.commit();
  return after;
}

// One connection's part.
void fill(const job& of, std::int64_t owner) {
  sqlite::connection own{of.path, of.how};
  for (std::int64_t rows = 0; rows < of.rows;) {
    rows = add_some(own, owner, of.rows);
    say("committed " + std::to_string(owner) + ' ' + std::to_string(rows));
  }
}

void prepare(const job& of) { sqlite::connection{of.path, of.how}.execute(schema); }

void ask(const job& of) {
  for (const auto& answer : sqlite::connection{of.path, of.how}.rows(questions)) say(answer);
}

gyre::task<> side_by_side(const job& of) {
  co_await sqlite::on_fiber([&] { prepare(of); });
  co_await gyre::with_task_group([&](gyre::task_group& all) -> gyre::task<> {
    for (std::int64_t owner = 1; owner <= of.connections; ++owner)
      all.start(sqlite::on_fiber([&of, owner] { fill(of, owner); }));
    co_return;
  });
  co_await sqlite::on_fiber([&] { ask(of); });
}

int one_after_the_other(const job& of) {
  try {
    prepare(of);
    for (std::int64_t owner = 1; owner <= of.connections; ++owner) fill(of, owner);
    ask(of);
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "sqlite_load: %s\n", error.what()), EXIT_FAILURE;
  }
}

// A number from 1 on, below those of the next owner; 0: it is none.
std::int64_t number_in(const char* text) noexcept {
  char* end = nullptr;
  const long long number = std::strtoll(text, &end, 10);
  return end != text && *end == '\0' && number > 0 && number < numbers_of_an_owner ? number : 0;
}

}  // namespace

int main(int argc, char** argv) {
  job wanted;
  if (argc >= 4) wanted = {.path = argv[1], .connections = number_in(argv[2]), .rows = number_in(argv[3]), .how = {}};
  const bool is_usual = argc == 4;
  const bool is_stock = argc == 5 && std::string_view{argv[4]} == "unix";
  if ((!is_usual && !is_stock) || wanted.connections == 0 || wanted.rows == 0)
    return std::fputs("usage: sqlite_load DATABASE CONNECTIONS ROWS [unix]\n", stderr), 2;
  if (is_usual) return gyre::run(side_by_side(wanted));
  wanted.how.vfs = "unix";
  return one_after_the_other(wanted);
}
