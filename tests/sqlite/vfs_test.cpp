// SPDX-License-Identifier: MIT
// SQLite on fibers: what it answers, who locks out whom, who waits for whom, and what a stop leaves.
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/offload.hpp>
#include <gyre/runtime/task_group.hpp>
#include <gyre/runtime/this_task.hpp>
#include <gyre/runtime/timer.hpp>
#include <gyre/sync/event.hpp>

#include "../../examples/sqlite/connection.hpp"
#include "../../examples/sqlite/vfs.hpp"
#include "../support/child.hpp"
#include "../support/kernel_by_hand.hpp"
#include "../support/scripted.hpp"
#include "../support/small_disk.hpp"
#include "../support/temp_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gyre {
namespace {

using namespace std::chrono_literals;
using namespace test;
using sqlite::connection;

using lines = std::vector<std::string>;

// By SQLite's own VFS, off any fiber.
lines stock_rows(const std::string& path, const std::string& sql) {
  return connection{path, {.vfs = "unix"}}.rows(sql);
}

lines gyre_rows(const std::string& path, const std::string& sql) {
  executor loop;
  return loop.run(sqlite::on_fiber([&] { return connection{path}.rows(sql); }));
}

bool exists(const std::string& path) { return std::filesystem::exists(path); }

constexpr const char* some_rows =
    "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, amount INTEGER);"
    "CREATE INDEX by_amount ON items(amount);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
    " INSERT INTO items SELECT i, 'item ' || i, i * 7919 % 1000 FROM n;";

}  // namespace

// ------------------------------------------------------------------------------------------------------------ answers

TEST_CASE("what a database answers is what it answers by SQLite's own VFS") {
  const temp_folder folder;
  const std::string much =
      std::string{some_rows} +
      "PRAGMA cache_size=10; PRAGMA temp_store=FILE;"
      "BEGIN; UPDATE items SET amount = amount + 1 WHERE id % 3 = 0; SAVEPOINT one; DELETE FROM items WHERE id > 400;"
      "ROLLBACK TO one; RELEASE one; COMMIT; BEGIN; DELETE FROM items; ROLLBACK;"
      "CREATE TEMP TABLE sorted AS SELECT name, amount FROM items ORDER BY amount DESC, id; SELECT * FROM sorted LIMIT "
      "9;"
      "SELECT count(*), sum(amount), group_concat(DISTINCT substr(name, 1, 6)) FROM items;"
      "ATTACH '@' AS other; CREATE TABLE other.copied AS SELECT * FROM items;"
      "BEGIN; UPDATE items SET amount = 0 WHERE id = 1; UPDATE copied SET amount = 0 WHERE id = 1; COMMIT;"
      "SELECT (SELECT sum(amount) FROM items), (SELECT sum(amount) FROM copied);"
      "DETACH other; DELETE FROM items WHERE id > 100; VACUUM; PRAGMA integrity_check; PRAGMA page_count;";
  const auto with_other = [&](const std::string& name) {
    std::string own = much;
    return own.replace(own.find('@'), 1, folder.file(name));
  };

  const lines expected = stock_rows(folder.file("stock"), with_other("stock-other"));
  const lines answers = gyre_rows(folder.file("gyre"), with_other("gyre-other"));

  CHECK(expected.size() > 10);
  CHECK(answers == expected);
  CHECK(stock_rows(folder.file("gyre"), "SELECT * FROM items") ==
        stock_rows(folder.file("stock"), "SELECT * FROM items"));
  CHECK(!exists(folder.file("gyre-journal")));
}

TEST_CASE("each journal mode works, and leaves behind what it leaves by SQLite's own VFS") {
  for (const std::string mode : {"delete", "truncate", "persist", "memory", "off"}) {
    const temp_folder folder;
    const std::string sql = "PRAGMA journal_mode=" + mode + ";" + some_rows + "SELECT sum(amount) FROM items";

    const lines expected = stock_rows(folder.file("stock"), sql);
    const lines answers = gyre_rows(folder.file("gyre"), sql);

    CHECK(answers == expected);
    CHECK(exists(folder.file("gyre-journal")) == exists(folder.file("stock-journal")));
    CHECK(gyre_rows(folder.file("gyre"), "PRAGMA integrity_check") == lines{"ok"});
  }
}

TEST_CASE("a log of writes works for a connection that has the file alone, and not for others") {
  const temp_folder folder;
  const std::string alone = "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;";
  const lines answers = gyre_rows(folder.file("db"), alone + some_rows + "SELECT count(*) FROM items");
  CHECK(answers == lines{"exclusive", "wal", "500"});

  // It stays in that mode, which SQLite's own VFS shares.
  CHECK(stock_rows(folder.file("db"), "SELECT count(*) FROM items; PRAGMA integrity_check") == lines{"500", "ok"});
  CHECK(gyre_rows(folder.file("db"), alone + "SELECT count(*) FROM items") == lines{"exclusive", "wal", "500"});
  CHECK_THROWS_AS(gyre_rows(folder.file("db"), "SELECT count(*) FROM items"), sqlite::error);
  CHECK(gyre_rows(folder.file("new"), "PRAGMA journal_mode=WAL") == lines{"delete"});
}

TEST_CASE("a database has one journal, by whichever of its names it is opened") {
  const temp_folder folder;
  gyre_rows(folder.file("db"), some_rows);
  std::filesystem::create_symlink("db", folder.file("link"));
  std::filesystem::create_symlink("later", folder.file("link-ahead"));

  executor loop;
  loop.run(sqlite::on_fiber([&] {
    connection linked{folder.file("link")};
    linked.execute("PRAGMA cache_size=1; BEGIN; UPDATE items SET amount = -1");
    CHECK(exists(folder.file("db-journal")));
    CHECK(!exists(folder.file("link-journal")));
    CHECK(linked.rows("PRAGMA database_list") ==
          lines{"0|main|" + std::filesystem::canonical(folder.path()).string() + "/db"});
    connection{folder.file("link-ahead")}.execute("CREATE TABLE t(a)");
  }));

  CHECK(exists(folder.file("later")));
  CHECK(gyre_rows(folder.file("db"), "SELECT min(amount) >= 0 FROM items") == lines{"1"});
}

TEST_CASE("a journal has the rights of its database") {
  const temp_folder folder;
  gyre_rows(folder.file("db"), some_rows);
  std::filesystem::permissions(folder.file("db"), std::filesystem::perms{0640});
  executor loop;
  loop.run(sqlite::on_fiber([&] {
    connection opened{folder.file("db")};
    opened.execute("BEGIN; UPDATE items SET amount = 0");
    CHECK(std::filesystem::status(folder.file("db-journal")).permissions() == std::filesystem::perms{0640});
  }));
}

TEST_CASE("a file that cannot be written is read, and one that cannot be opened is told") {
  const temp_folder folder;
  gyre_rows(folder.file("db"), some_rows);
  executor loop;
  loop.run(sqlite::on_fiber([&] {
    CHECK(connection{"file:" + folder.file("db") + "?mode=ro"}.rows("SELECT count(*) FROM items") == lines{"500"});
    try {
      connection missing{folder.path() + "/no/such/folder"};
      missing.execute("SELECT 1 FROM sqlite_master");
      FAIL("it was opened");
    } catch (const sqlite::error& refused) {
      CHECK((refused.code() & 0xff) == SQLITE_CANTOPEN);
    }
    CHECK_THROWS_AS(connection{"file:" + folder.file("db") + "?cache=shared"}, sqlite::error);
  }));
}

TEST_CASE("a file that was renamed below a connection is not written any more") {
  const temp_folder folder;
  gyre_rows(folder.file("db"), some_rows);
  executor loop;
  loop.run(sqlite::on_fiber([&] {
    connection opened{folder.file("db")};
    CHECK(opened.rows("SELECT count(*) FROM items") == lines{"500"});
    std::filesystem::rename(folder.file("db"), folder.file("elsewhere"));
    try {
      opened.execute("DELETE FROM items");
      FAIL("it was written");
    } catch (const sqlite::error& refused) {
      CHECK(refused.code() == SQLITE_READONLY_DBMOVED);
    }
  }));
}

TEST_CASE("an expression as deep as SQLite takes them has room on the stack of a fiber") {
  std::string deep = "SELECT 1";
  for (int i = 0; i < 990; ++i) deep += "+1";
  executor loop;
  loop.run(sqlite::on_fiber([&] { CHECK(connection{":memory:"}.rows(deep) == lines{"991"}); }));
}

TEST_CASE("time and chance are those of the system") {
  sqlite::register_vfs();
  sqlite3_vfs* const vfs = sqlite3_vfs_find(sqlite::vfs_name);
  sqlite3_vfs* const own = sqlite3_vfs_find("unix");
  std::array<sqlite3_int64, 3> times{};
  own->xCurrentTimeInt64(own, &times[0]);
  vfs->xCurrentTimeInt64(vfs, &times[1]);
  own->xCurrentTimeInt64(own, &times[2]);
  CHECK(std::is_sorted(times.begin(), times.end()));
  double days = 0;
  vfs->xCurrentTime(vfs, &days);
  CHECK(days > 2'460'000.0);

  std::array<char, 32> one{};
  std::array<char, 32> other{};
  CHECK(vfs->xRandomness(vfs, one.size(), one.data()) == 32);
  CHECK(vfs->xRandomness(vfs, other.size(), other.data()) == 32);
  CHECK(one != other);
}

// -------------------------------------------------------------------------------------------------------------- locks

namespace {

// A database file as a VFS has it open, and its lock.
class locked_file {
 public:
  locked_file(const char* vfs_name, const std::string& path) : vfs_{sqlite3_vfs_find(vfs_name)} {
    name_ = sqlite3_create_filename(path.c_str(), "", "", 0, nullptr);
    memory_.resize(static_cast<std::size_t>(vfs_->szOsFile) / sizeof(std::max_align_t) + 1);
    constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_DB;
    REQUIRE(vfs_->xOpen(vfs_, name_, file(), flags, nullptr) == SQLITE_OK);
  }
  locked_file(const locked_file&) = delete;
  locked_file& operator=(const locked_file&) = delete;
  ~locked_file() {
    file()->pMethods->xClose(file());
    sqlite3_free_filename(name_);
  }

  /// To a level, up or down, by the steps that SQLite makes. Returns the last one's result.
  int go_to(int level) {
    if (level <= level_) {
      const int lowered = file()->pMethods->xUnlock(file(), level);
      if (lowered == SQLITE_OK) level_ = level;
      return lowered;
    }
    if (level_ == SQLITE_LOCK_NONE) {
      if (const int code = step(SQLITE_LOCK_SHARED); code != SQLITE_OK) return code;
    }
    if (level_ < SQLITE_LOCK_RESERVED && level > SQLITE_LOCK_RESERVED) {
      if (const int code = step(SQLITE_LOCK_RESERVED); code != SQLITE_OK) return code;
    }
    return level_ < level ? step(level) : SQLITE_OK;
  }

  bool is_reserved() {
    int answer = -1;
    CHECK(file()->pMethods->xCheckReservedLock(file(), &answer) == SQLITE_OK);
    return answer == 1;
  }

 private:
  int step(int level) {
    const int code = file()->pMethods->xLock(file(), level);
    if (code == SQLITE_OK) level_ = level;
    else if (level == SQLITE_LOCK_EXCLUSIVE) file()->pMethods->xFileControl(file(), SQLITE_FCNTL_LOCKSTATE, &level_);
    return code;
  }
  sqlite3_file* file() noexcept { return reinterpret_cast<sqlite3_file*>(memory_.data()); }

  sqlite3_vfs* vfs_;
  const char* name_ = nullptr;
  std::vector<std::max_align_t> memory_;
  int level_ = SQLITE_LOCK_NONE;
};

// Whoever may hold the lock.
class party {
 public:
  virtual ~party() = default;
  virtual bool go_to(int level) = 0;  // false: somebody else is in the way
  virtual bool is_reserved() = 0;
};

bool as_answer(int code) {
  CHECK((code == SQLITE_OK || code == SQLITE_BUSY));
  return code == SQLITE_OK;
}

class by_gyre final : public party {
 public:
  explicit by_gyre(const std::string& path) {
    sqlite::register_vfs();
    loop_.run(on_fiber([&] { file_.emplace(sqlite::vfs_name, path); }));
  }
  ~by_gyre() override {
    loop_.run(on_fiber([&] { file_.reset(); }));
  }
  bool go_to(int level) override {
    return as_answer(loop_.run(on_fiber([&] { return file_->go_to(level); })));
  }
  bool is_reserved() override {
    return loop_.run(on_fiber([&] { return file_->is_reserved(); }));
  }

 private:
  executor loop_;
  std::optional<locked_file> file_;
};

class by_stock final : public party {
 public:
  explicit by_stock(const std::string& path) : file_{"unix", path} {}
  bool go_to(int level) override { return as_answer(file_.go_to(level)); }
  bool is_reserved() override { return file_.is_reserved(); }

 private:
  locked_file file_;
};

// The same in another process: told what to do by one letter, and answers by another.
class by_stock_elsewhere final : public party {
 public:
  explicit by_stock_elsewhere(const std::string& path) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    told_.reset(ends[0]);
    tell_.reset(ends[1]);
    process_ = std::make_unique<child>([&] {
      tell_.reset();
      by_stock own{path};
      for (char wanted = 0; ::read(told_.get(), &wanted, 1) == 1;)
        say((wanted == '?' ? own.is_reserved() : own.go_to(wanted - '0')) ? 'y' : 'n');
      return 0;
    });
    told_.reset();
  }
  bool go_to(int level) override { return ask(static_cast<char>('0' + level)); }
  bool is_reserved() override { return ask('?'); }

 private:
  bool ask(char what) {
    REQUIRE(::write(tell_.get(), &what, 1) == 1);
    const char answer = process_->hears();
    REQUIRE((answer == 'y' || answer == 'n'));
    return answer == 'y';
  }
  unique_fd told_;
  unique_fd tell_;
  std::unique_ptr<child> process_;
};

// Whether somebody may come to `wanted` while another one has `held`.
bool may_have(int wanted, int held) {
  if (wanted == SQLITE_LOCK_SHARED) return held <= SQLITE_LOCK_RESERVED;
  if (wanted == SQLITE_LOCK_RESERVED) return held <= SQLITE_LOCK_SHARED;
  return held == SQLITE_LOCK_NONE;
}

void check_table(party& holder, party& other) {
  constexpr std::array levels{SQLITE_LOCK_NONE, SQLITE_LOCK_SHARED, SQLITE_LOCK_RESERVED, SQLITE_LOCK_EXCLUSIVE};
  for (const int held : levels) {
    for (const int wanted : levels) {
      if (wanted == SQLITE_LOCK_NONE) continue;
      CAPTURE(held);
      CAPTURE(wanted);
      REQUIRE(holder.go_to(held));
      CHECK(other.is_reserved() == (held >= SQLITE_LOCK_RESERVED));
      CHECK(other.go_to(wanted) == may_have(wanted, held));
      REQUIRE(other.go_to(SQLITE_LOCK_NONE));
      REQUIRE(holder.go_to(SQLITE_LOCK_NONE));
    }
  }
}

// A writer that waits for a reader keeps new readers out, and has the file when the old one goes.
void check_pending(party& writer, party& reader, party& newcomer) {
  REQUIRE(reader.go_to(SQLITE_LOCK_SHARED));
  REQUIRE(writer.go_to(SQLITE_LOCK_RESERVED));
  CHECK(newcomer.go_to(SQLITE_LOCK_SHARED));
  REQUIRE(newcomer.go_to(SQLITE_LOCK_NONE));

  CHECK(!writer.go_to(SQLITE_LOCK_EXCLUSIVE));
  CHECK(!newcomer.go_to(SQLITE_LOCK_SHARED));
  REQUIRE(reader.go_to(SQLITE_LOCK_NONE));
  CHECK(writer.go_to(SQLITE_LOCK_EXCLUSIVE));

  REQUIRE(writer.go_to(SQLITE_LOCK_SHARED));
  CHECK(newcomer.go_to(SQLITE_LOCK_SHARED));
  REQUIRE(newcomer.go_to(SQLITE_LOCK_NONE));
  REQUIRE(writer.go_to(SQLITE_LOCK_NONE));
}

}  // namespace

TEST_CASE("connections of one process lock each other out as SQLite wants it") {
  const temp_folder folder;
  by_gyre one{folder.file("db")};
  by_gyre other{folder.file("db")};
  by_gyre third{folder.file("db")};
  check_table(one, other);
  check_pending(one, other, third);
}

TEST_CASE("connections of this VFS and of SQLite's own, in another process, lock each other out") {
  const temp_folder folder;
  by_stock_elsewhere stock{folder.file("db")};
  by_stock_elsewhere other_stock{folder.file("db")};
  by_gyre own{folder.file("db")};
  by_gyre other_own{folder.file("db")};
  check_table(own, stock);
  check_table(stock, own);
  check_pending(own, stock, other_own);
  check_pending(stock, own, other_stock);
  check_pending(own, other_own, stock);
  check_pending(stock, other_stock, own);
}

TEST_CASE("connections of this VFS and of SQLite's own lock each other out in one process, too, while both are open") {
  const temp_folder folder;
  by_gyre own{folder.file("db")};
  by_stock stock{folder.file("db")};
  check_table(own, stock);
  check_table(stock, own);
}

// -------------------------------------------------------------------------------------------- many on one thread

namespace {

// Who has which of SQLite's mutexes, and whether a fiber had one while another ran.
class watched_mutexes {
 public:
  watched_mutexes() {
    REQUIRE(sqlite3_initialize() == SQLITE_OK);
    REQUIRE(sqlite3_shutdown() == SQLITE_OK);
    REQUIRE(sqlite3_config(SQLITE_CONFIG_GETMUTEX, &own_) == SQLITE_OK);
    sqlite3_mutex_methods watched = own_;
    watched.xMutexAlloc = [](int kind) {
      sqlite3_mutex* const made = own_.xMutexAlloc(kind);
      if (made != nullptr) all_[made].kind = kind;
      return made;
    };
    watched.xMutexFree = [](sqlite3_mutex* gone) {
      all_.erase(gone);
      own_.xMutexFree(gone);
    };
    watched.xMutexEnter = [](sqlite3_mutex* wanted) {
      look();
      state& of = all_[wanted];
      if (of.depth > 0 && of.holder != detail::fiber_context::current()) {
        std::fputs("a fiber wants a mutex that another one has: this thread would wait for itself\n", stderr);
        std::abort();
      }
      own_.xMutexEnter(wanted);
      of.holder = detail::fiber_context::current();
      ++of.depth;
      ++entered_count;
    };
    watched.xMutexTry = [](sqlite3_mutex* wanted) {
      const int code = own_.xMutexTry(wanted);
      if (code == SQLITE_OK) ++all_[wanted].depth, all_[wanted].holder = detail::fiber_context::current();
      return code;
    };
    watched.xMutexLeave = [](sqlite3_mutex* held) {
      --all_[held].depth;
      own_.xMutexLeave(held);
    };
    REQUIRE(sqlite3_config(SQLITE_CONFIG_MUTEX, &watched) == SQLITE_OK);
    all_.clear();
    entered_count = 0;
    held_while_others_ran.clear();
    REQUIRE(sqlite3_initialize() == SQLITE_OK);
  }
  watched_mutexes(const watched_mutexes&) = delete;
  watched_mutexes& operator=(const watched_mutexes&) = delete;
  ~watched_mutexes() {
    sqlite3_shutdown();
    sqlite3_config(SQLITE_CONFIG_MUTEX, &own_);
    sqlite3_initialize();
  }

  static inline std::size_t entered_count = 0;
  static inline std::map<int, std::size_t> held_while_others_ran;  // by kind

 private:
  struct state {
    int kind = 0;
    int depth = 0;
    const detail::fiber_context* holder = nullptr;
  };

  static void look() {
    const auto* const here = detail::fiber_context::current();
    for (const auto& [mutex, of] : all_)
      if (of.depth > 0 && of.holder != here) ++held_while_others_ran[of.kind];
  }

  static inline sqlite3_mutex_methods own_{};
  static inline std::map<sqlite3_mutex*, state> all_;
};

constexpr int connections_count = 128;
constexpr int databases_count = 16;  // so that eight want one lock

std::string database_of(const temp_folder& folder, int owner) {
  return folder.file("db" + std::to_string(owner % databases_count));
}

task<> insert_some(const temp_folder& folder, int owner) {
  return sqlite::on_fiber([&folder, owner] {
    connection own{database_of(folder, owner)};
    sqlite::statement inserting{own, "INSERT INTO items(name, amount) VALUES(?, ?)"};
    own.execute("PRAGMA synchronous=OFF");
    sqlite::transaction writing{own};
    for (int row = 0; row < 5; ++row) {
      inserting.bind("owner " + std::to_string(owner), owner);
      inserting.run();
    }
    writing.commit();
    const auto mine = own.rows("SELECT count(*) FROM items WHERE amount = " + std::to_string(owner));
    CHECK(mine == lines{"5"});
  });
}

task<> insert_from_many(const temp_folder& folder) {
  co_await with_task_group([&](task_group& group) -> task<> {
    for (int owner = 0; owner < connections_count; ++owner) group.start(insert_some(folder, owner));
    co_return;
  });
}

}  // namespace

namespace {

void make_databases(const temp_folder& folder) {
  for (int i = 0; i < databases_count; ++i)
    stock_rows(database_of(folder, i), "PRAGMA synchronous=OFF; CREATE TABLE items(name TEXT, amount INTEGER)");
}

bool all_is_there(const temp_folder& folder) {
  for (int i = 0; i < databases_count; ++i) {
    const auto found = stock_rows(database_of(folder, i),
                                  "SELECT count(*), count(DISTINCT amount) FROM items; PRAGMA integrity_check");
    if (found != lines{"40|8", "ok"}) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("128 connections write on one thread, and no fiber has a mutex of SQLite's while another runs") {
  const temp_folder folder;
  make_databases(folder);
  {
    const watched_mutexes watched;
    executor loop;
    loop.run(insert_from_many(folder));

    CHECK(watched_mutexes::entered_count > 1'000);
    CHECK(watched_mutexes::held_while_others_ran.empty());
  }
  CHECK(all_is_there(folder));
}

TEST_CASE("where a file system may have to ask a server for a lock, a thread of the pool waits for that") {
  const temp_folder folder;
  // None of those that are known to answer from memory, though it does.
  CHECK(holds_on_file_system("ramfs", "", folder.path(), [&] {
    make_databases(folder);
    executor loop;
    loop.run(insert_from_many(folder));
    constexpr std::uint64_t steps_min = 10 * connections_count;
    return all_is_there(folder) && offload_pool::common().statistics().finished > steps_min;
  }));
}

TEST_CASE("a connection with a mutex of its own has it while others run: so it is opened without") {
  const temp_folder folder;
  const watched_mutexes watched;
  executor loop;
  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      for (int i = 0; i < 2; ++i) {
        group.start(sqlite::on_fiber([&, i] {
          sqlite::register_vfs();
          sqlite3* opened = nullptr;
          constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
          const std::string path = folder.file("db" + std::to_string(i));
          CHECK(sqlite3_open_v2(path.c_str(), &opened, flags, sqlite::vfs_name) == SQLITE_OK);
          CHECK(sqlite3_exec(opened, some_rows, nullptr, nullptr, nullptr) == SQLITE_OK);
          sqlite3_close(opened);
        }));
      }
      co_return;
    });
  }());
  CHECK(watched_mutexes::held_while_others_ran.count(SQLITE_MUTEX_RECURSIVE) == 1);
}

TEST_CASE("a connection whose disk does not answer holds up nobody") {
  const temp_folder folder;
  for (const char* name : {"slow", "quick"}) stock_rows(folder.file(name), some_rows);
  scripted_executor on;
  kernel_by_hand kernel{on};
  lines slow_answer;
  auto slow = on.loop.start(
      sqlite::on_fiber([&] { slow_answer = connection{folder.file("slow")}.rows("SELECT count(*) FROM items"); }));
  kernel.run_until([&] { return !on.script.in_flight(IORING_OP_READ).empty(); });
  const auto not_answered = on.script.only(IORING_OP_READ);

  int answers_count = 0;
  auto quick = on.loop.start(sqlite::on_fiber([&] {
    connection own{folder.file("quick")};
    own.execute("PRAGMA synchronous=OFF");
    for (int i = 0; i < 100; ++i) {
      own.execute("UPDATE items SET amount = amount + 1 WHERE id = 7");
      answers_count += own.rows("SELECT count(*) FROM items") == lines{"500"} ? 1 : 0;
    }
  }));
  while (!quick.done()) {
    on.loop.run_ready();
    const auto waiting = on.script.in_flight();
    for (const auto& each : waiting)
      if (each.id != not_answered.id) kernel.perform(each);
  }
  CHECK(answers_count == 100);
  CHECK(!slow.done());

  kernel.run_until([&] { return slow.done(); });
  CHECK(slow_answer == lines{"500"});
}

TEST_CASE("a connection that waits for another one's lock holds up nobody, and has it afterwards") {
  const temp_folder folder;
  stock_rows(folder.file("db"), some_rows);
  scripted_executor on;
  kernel_by_hand kernel{on};
  lines noted;
  sync::local_event may_commit;
  auto first = on.loop.start(sqlite::on_fiber([&] {
    connection own{folder.file("db")};
    sqlite::transaction writing{own};
    own.execute("UPDATE items SET amount = 1");
    noted.emplace_back("first has written");
    fiber::await(may_commit.wait());
    writing.commit();
    noted.emplace_back("first has committed");
  }));
  kernel.run_until([&] { return !noted.empty(); });

  auto second = on.loop.start(sqlite::on_fiber([&] {
    connection own{folder.file("db")};
    sqlite::transaction writing{own};
    noted.emplace_back("second has the lock: " + own.rows("SELECT sum(amount) FROM items").front());
    writing.commit();
  }));
  auto third = on.loop.start(sqlite::on_fiber([&] {
    connection own{folder.file("db")};
    for (int i = 0; i < 100; ++i) CHECK(own.rows("SELECT count(*) FROM items") == lines{"500"});
    noted.emplace_back("third has read");
  }));
  kernel.run_until([&] { return third.done(); });
  for (int i = 0; i < 50; ++i) on.advance(100ms);
  CHECK(noted == lines{"first has written", "third has read"});

  may_commit.set();
  kernel.time_step = 1ms;
  kernel.run_until([&] { return first.done() && second.done(); });
  CHECK(noted == lines{"first has written", "third has read", "first has committed", "second has the lock: 500"});
}

TEST_CASE("a lock that does not come in time is SQLITE_BUSY, after so long and no sooner") {
  const temp_folder folder;
  stock_rows(folder.file("db"), some_rows);
  by_gyre holder{folder.file("db")};
  REQUIRE(holder.go_to(SQLITE_LOCK_RESERVED));
  scripted_executor on;
  kernel_by_hand kernel{on};
  int code = 0;
  auto waiting = on.loop.start(sqlite::on_fiber([&] {
    connection own{folder.file("db"), {.patience = 1s}};
    try {
      own.execute("BEGIN IMMEDIATE");
    } catch (const sqlite::error& refused) {
      code = refused.code();
    }
  }));
  kernel.run_until([&] { return on.script.taken_count(IORING_OP_READ) > 0; });  // it is open
  const auto begin = on.script.now();
  kernel.time_step = 1ms;
  kernel.run_until([&] { return waiting.done(); });

  CHECK(code == SQLITE_BUSY);
  const std::chrono::nanoseconds waited{on.script.now() - begin};
  CHECK(waited >= 1s);
  CHECK(waited < 1100ms);
}

TEST_CASE("a statement that computes for long lets others run") {
  executor loop;
  int turns_count = 0;
  bool is_over = false;
  loop.run([&]() -> task<> {
    co_await with_task_group([&](task_group& group) -> task<> {
      group.start(sqlite::on_fiber([&] {
        const auto counted = connection{":memory:"}.rows(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT count(*) FROM n");
        CHECK(counted == lines{"20000"});
        is_over = true;
      }));
      while (!is_over) {
        co_await this_task::yield();
        ++turns_count;
      }
    });
  }());
  CHECK(turns_count > 50);
}

// -------------------------------------------------------------------------------------------------------------- stops

namespace {

// A hundred rows on small pages, so that little work goes to the disk often.
constexpr const char* few_rows =
    "PRAGMA page_size=512; CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, amount INTEGER);"
    "CREATE INDEX by_amount ON items(amount);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
    " INSERT INTO items SELECT i, 'item ' || i, i * 7919 % 1000 FROM n;";

constexpr const char* much_work =
    "PRAGMA cache_size=8; BEGIN IMMEDIATE;"
    "UPDATE items SET amount = -amount - 1;"
    "DELETE FROM items WHERE id > 80;"
    "INSERT INTO items(name, amount) SELECT 'new', -7 FROM items WHERE id <= 20; COMMIT;";
constexpr const char* what_came_of_it = "SELECT count(*), sum(amount < 0) FROM items";
const lines nothing_done{"100|0"};
const lines all_done{"100|100"};

// A database of its own, of one that is made once.
std::string copy_with_few_rows(const temp_folder& folder) {
  static const temp_folder kept;
  static const lines made = stock_rows(kept.file("db"), few_rows);
  std::filesystem::copy_file(kept.file("db"), folder.file("db"));
  return folder.file("db");
}

enum class how_it_waits { in_sqlite_only, also_by_itself };

// Stops one connection's work at its n-th request. Returns whether there was one, and whether the work was committed.
struct stop_outcome {
  bool was_stopped = false;
  bool is_committed = false;
};

stop_outcome stop_at(std::size_t request, const std::string& mode, how_it_waits how) {
  const temp_folder folder;
  const std::string path = copy_with_few_rows(folder);
  scripted_executor on;
  kernel_by_hand kernel{on};
  bool has_returned = false;
  bool is_at_its_end = false;
  auto root = on.loop.start(sqlite::on_fiber([&] {
    connection own{path};
    own.execute("PRAGMA journal_mode=" + mode);
    if (how == how_it_waits::also_by_itself) {
      own.execute("PRAGMA cache_size=8; BEGIN; UPDATE items SET amount = amount");
      fiber::await(this_task::yield());
      own.execute("COMMIT");
    }
    own.execute(much_work);
    has_returned = true;
    if (how == how_it_waits::also_by_itself) fiber::await(this_task::yield());
    is_at_its_end = true;
  }));
  bool was_asked = false;
  kernel.run_until([&] { return root.done(); },
                   [&](std::size_t count) {
                     if (count != request) return;
                     was_asked = true;
                     root.cancel();
                   });
  CHECK(root.stopped() != is_at_its_end);

  const bool leaves_journal = mode == "persist" || mode == "truncate";
  if (!leaves_journal) CHECK(!exists(path + "-journal"));
  CHECK(stock_rows(path, "PRAGMA integrity_check") == lines{"ok"});
  const lines found = stock_rows(path, what_came_of_it);
  const bool is_committed = found == all_done;
  if (!is_committed) CHECK(found == nothing_done);
  CHECK(is_committed == has_returned);
  return {.was_stopped = was_asked, .is_committed = is_committed};
}

}  // namespace

TEST_CASE("a stop at each call of the VFS leaves the database whole, and no journal to be rolled back") {
  for (const how_it_waits how : {how_it_waits::in_sqlite_only, how_it_waits::also_by_itself}) {
    for (const std::string mode : {"delete", "persist", "memory"}) {
      CAPTURE(mode);
      std::size_t committed_count = 0;
      std::size_t request = 0;
      for (;; ++request) {
        CAPTURE(request);
        const auto outcome = stop_at(request, mode, how);
        if (!outcome.was_stopped) break;
        if (outcome.is_committed) ++committed_count;
      }
      CHECK(request > 30);
      CHECK(committed_count > 0);
      CHECK(committed_count < request);
    }
  }
}

TEST_CASE("a stop ends a wait for a lock, and a statement that computes") {
  const temp_folder folder;
  stock_rows(folder.file("db"), some_rows);
  by_gyre holder{folder.file("db")};
  REQUIRE(holder.go_to(SQLITE_LOCK_EXCLUSIVE));
  scripted_executor on;
  kernel_by_hand kernel{on};
  bool is_waiting = false;
  auto waiting = on.loop.start(sqlite::on_fiber([&] {
    connection own{folder.file("db")};
    is_waiting = true;
    own.execute("BEGIN IMMEDIATE");
    FAIL("it has got the lock");
  }));
  kernel.run_until([&] { return is_waiting; });
  on.advance(5s);
  CHECK(!waiting.done());
  waiting.cancel();
  kernel.run_until([&] { return waiting.done(); });
  CHECK(waiting.stopped());

  auto computing = on.loop.start(sqlite::on_fiber([&] {
    connection own{":memory:"};
    executor::current().root_scope().cancel("in the midst");
    static_cast<void>(
        own.rows("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"));
  }));
  on.loop.run_ready();
  CHECK(computing.stopped());
}

TEST_CASE("an interruption that is no stop is an error of its own") {
  executor loop;
  CHECK_THROWS_AS(loop.run(sqlite::on_fiber([&] {
    connection own{":memory:"};
    sqlite3_progress_handler(own.handle(), 10, [](void*) { return 1; }, nullptr);
    static_cast<void>(
        own.rows("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                 " SELECT count(*) FROM n"));
  })),
                  sqlite::interrupted);
}

// ------------------------------------------------------------------------------------------------------------ failures

TEST_CASE("a failure of the disk at each request is an error, and leaves the database whole") {
  for (const int failure : {EIO, ENOSPC}) {
    for (std::size_t request = 0;; ++request) {
      CAPTURE(failure);
      CAPTURE(request);
      const temp_folder folder;
      const std::string path = copy_with_few_rows(folder);
      scripted_executor on;
      kernel_by_hand kernel{on};
      int code = SQLITE_OK;
      bool has_failed = false;
      int failed_opcode = -1;
      auto root = on.loop.start(sqlite::on_fiber([&] {
        try {
          connection own{path};
          own.execute(much_work);
        } catch (const sqlite::error& refused) {
          code = refused.code();
        }
      }));
      const auto is_over = [&] { return root.done(); };
      for (std::size_t count = 0;; ++count) {
        kernel.settle(is_over);
        if (is_over()) break;
        const auto asked = on.script.in_flight().front();
        if (count != request) {
          kernel.perform(asked);
          continue;
        }
        has_failed = true;
        failed_opcode = asked.opcode;
        if (asked.opcode == IORING_OP_CLOSE) ::close(asked.fd);  // as the kernel does whatever it says
        on.script.complete(asked, -failure);
      }
      CAPTURE(failed_opcode);

      const bool must_show = failed_opcode == IORING_OP_WRITE || failed_opcode == IORING_OP_READ;
      if (must_show) CHECK(code != SQLITE_OK);
      if (failed_opcode == IORING_OP_WRITE) CHECK((code & 0xff) == (failure == ENOSPC ? SQLITE_FULL : SQLITE_IOERR));
      CHECK(stock_rows(path, "PRAGMA integrity_check") == lines{"ok"});
      const lines found = stock_rows(path, what_came_of_it);
      CHECK((found == all_done || found == nothing_done));
      if (code == SQLITE_OK) CHECK(found == all_done);
      if (!has_failed) {
        CHECK(request > 20);
        break;
      }
    }
  }
}

TEST_CASE("short reads and writes are gone on with") {
  const temp_folder folder;
  const std::string path = copy_with_few_rows(folder);
  scripted_executor on;
  kernel_by_hand kernel{on};
  auto root = on.loop.start(sqlite::on_fiber([&] { connection{path}.execute(much_work); }));
  const auto is_over = [&] { return root.done(); };
  for (std::size_t count = 0;; ++count) {
    kernel.settle(is_over);
    if (is_over()) break;
    auto asked = on.script.in_flight().front();
    if (asked.len > 100 && (asked.opcode == IORING_OP_READ || asked.opcode == IORING_OP_WRITE)) {
      if (count % 3 == 0) {
        on.script.complete(asked, -EINTR);
        continue;
      }
      asked.len = asked.len / 2 + 1;
    }
    kernel.perform(asked);
  }
  CHECK(stock_rows(path, what_came_of_it) == all_done);
  CHECK(stock_rows(path, "PRAGMA integrity_check") == lines{"ok"});
}

}  // namespace gyre
