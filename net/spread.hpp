// SPDX-License-Identifier: MIT
// Connections of one port, served by several executors.
//
// There are two ways, and each is better at something:
//
//   one listener, handed over    whoever has the fewest connections gets the next one: exact, also where connections
//                                last long or cost much. One executor accepts for all; each connection is a task of
//                                its own there, and two messages.
//   a listener for each          the kernel deals connections out by a hash of their addresses (SO_REUSEPORT), and no
//                                executor knows of another. Cheapest; even only on average, and who is dealt to a
//                                busy executor waits for that one.
//
// Either way spread() is a region like a group: it ends when the last session has, and a stop of it stops all of them,
// wherever they run.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/net/tcp_listener.hpp>
#include <gyre/net/tcp_stream.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/runtime.hpp>
#include <gyre/runtime/task.hpp>
#include <gyre/runtime/task_group.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace gyre::net {

namespace detail {
class counted_connection;
}

/// The executors that connections are spread over: those of a runtime, or some of the program's own.
class executor_list {
 public:
  executor_list(gyre::runtime& all);  // NOLINT(google-explicit-constructor)
  executor_list(std::initializer_list<executor*> some) : all_{some} {}
  executor_list(std::vector<executor*> some) noexcept  // NOLINT(google-explicit-constructor)
      : all_{std::move(some)} {}

  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
  [[nodiscard]] executor& operator[](std::size_t index) const noexcept { return *all_[index]; }

 private:
  std::vector<executor*> all_;
};

/// How many connections each executor has, for who wants to look: see spread_options. Outlives the spread().
class spread_counts {
 public:
  explicit spread_counts(std::size_t executors_count)
      : all_{std::make_unique<one[]>(executors_count)}, size_{executors_count} {}

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Connections that an executor has now, those on their way to it included.
  ///
  /// @param index  Of the executor, in the list that spread() was given.
  /// @threads      Any.
  [[nodiscard]] std::size_t running(std::size_t index) const noexcept {
    return all_[index].running.load(std::memory_order_relaxed);
  }

  /// Connections that it was ever given.
  ///
  /// @threads  Any.
  [[nodiscard]] std::uint64_t taken(std::size_t index) const noexcept {
    return all_[index].taken.load(std::memory_order_relaxed);
  }

 private:
  friend detail::counted_connection;
  struct alignas(64) one {  // a cache line each, as each may be written by a thread of its own
    std::atomic<std::size_t> running = 0;
    std::atomic<std::uint64_t> taken = 0;
  };
  std::unique_ptr<one[]> all_;
  std::size_t size_;
};

struct spread_options {
  /// How many connections an executor may have at a time. Where none may have more, those that come stay in the backlog
  /// until one ends. More than zero.
  std::size_t connections_max = SIZE_MAX;

  /// What an exception that leaves a session does: as for a task group. What is logged names the session's peer. Handed
  /// over: it is looked at on the executor that accepts. A listener for each: on that of the session, so that a
  /// function of the program's may be called by several threads at once.
  error_handling on_error = log_and_continue;

  /// Where to count, when somebody wants to look. Of as many executors as there are.
  spread_counts* counts = nullptr;
};

namespace detail {

/// A connection that is counted as long as this lives.
class counted_connection {
 public:
  counted_connection(spread_counts& counts, std::size_t index) noexcept : mine_{&counts.all_[index]} {
    mine_->running.fetch_add(1, std::memory_order_relaxed);
    mine_->taken.fetch_add(1, std::memory_order_relaxed);
  }
  counted_connection(counted_connection&& other) noexcept : mine_{std::exchange(other.mine_, nullptr)} {}
  counted_connection& operator=(counted_connection&&) = delete;
  ~counted_connection() {
    if (mine_ != nullptr) mine_->running.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  spread_counts::one* mine_;
};

/// The connections of a listener, as they come.
class connection_source {
 public:
  /// @param ahead  Whether connections may be taken that nobody has asked for yet, by one request for all of them.
  connection_source(tcp_listener& from, bool ahead) : from_{from} {
    if (ahead) incoming_.emplace(from.incoming());
  }

  /// The next one; empty when the listener was shut down.
  task<std::optional<tcp_stream>> next();

 private:
  tcp_listener& from_;
  std::optional<incoming_connections> incoming_;
};

/// Whose turn it is to get a connection.
class least_loaded {
 public:
  explicit least_loaded(const spread_counts& counts) noexcept : counts_{counts}, last_{counts.size() - 1} {}

  /// Who has the fewest; of several the next after the one that was chosen last.
  std::size_t next() noexcept;

 private:
  const spread_counts& counts_;
  std::size_t last_;
};

/// All that a spread() has: lives until the last session has ended.
template <class Serve>
struct spreading {
  spreading(executor_list&& its_executors, Serve&& its_serve, spread_options&& its_options)
      : over{std::move(its_executors)}, serve{std::move(its_serve)}, options{std::move(its_options)} {
    GYRE_ASSERT(over.size() > 0, "connections are spread over executors: there is none");
    GYRE_ASSERT(options.connections_max > 0, "an executor that may have no connection serves none");
    if (options.counts == nullptr) options.counts = &own_counts.emplace(over.size());
    GYRE_ASSERT(options.counts->size() == over.size(), "there are as many counts as executors");
  }
  spreading(const spreading&) = delete;
  spreading& operator=(const spreading&) = delete;

  [[nodiscard]] bool is_limited() const noexcept { return options.connections_max != SIZE_MAX; }
  [[nodiscard]] task_group_options group_of(std::size_t executors_count) const {
    const bool countable = options.connections_max <= SIZE_MAX / executors_count;
    return {.on_error = options.on_error,
            .max_tasks = countable ? options.connections_max * executors_count : SIZE_MAX};
  }

  const executor_list over;
  const Serve serve;
  spread_options options;
  std::optional<spread_counts> own_counts;
};

// Each accepting coroutine owns its listener, so that a stop closes that at once, and not when the last session ends.

/// Whose connection it is: asked before the session has it, as nobody can tell afterwards.
class peer_of_session {
 public:
  explicit peer_of_session(const tcp_stream& client) noexcept;

  /// Logs what has left the session, by its peer's address.
  void log(const std::exception_ptr& error) const noexcept;

 private:
  std::optional<address> peer_;  // none: it has gone already
};

template <class Serve>
task<> serve_there(const spreading<Serve>& shared, std::size_t index, tcp_stream client, counted_connection) {
  const peer_of_session whose{client};
  try {
    co_await on(shared.over[index], [&] { return std::invoke(shared.serve, std::move(client)); });
  } catch (...) {
    if (!shared.options.on_error.only_logs()) throw;
    whose.log(std::current_exception());
  }
}

template <class Serve>
task<> hand_over(const spreading<Serve>& shared, tcp_listener listener, task_group& sessions) {
  connection_source source{listener, /*ahead=*/!shared.is_limited()};
  least_loaded chosen{*shared.options.counts};
  for (;;) {
    co_await sessions.room();
    auto client = co_await source.next();
    if (!client) co_return;
    const std::size_t index = chosen.next();
    sessions.start(serve_there(shared, index, std::move(*client), counted_connection{*shared.options.counts, index}));
  }
}

template <class Serve>
task<> serve_here(const spreading<Serve>& shared, tcp_stream client, counted_connection) {
  const peer_of_session whose{client};
  try {
    co_await std::invoke(shared.serve, std::move(client));
  } catch (...) {
    if (!shared.options.on_error.only_logs()) throw;
    whose.log(std::current_exception());
  }
}

template <class Serve>
task<> accept_here(const spreading<Serve>& shared, std::size_t index, tcp_listener listener, task_group& sessions) {
  connection_source source{listener, /*ahead=*/!shared.is_limited()};
  for (;;) {
    co_await sessions.room();
    auto client = co_await source.next();
    if (!client) co_return;
    sessions.start(serve_here(shared, std::move(*client), counted_connection{*shared.options.counts, index}));
  }
}

template <class Serve>
task<> serve_all_here(const spreading<Serve>& shared, std::size_t index, tcp_listener listener) {
  co_await with_task_group(shared.group_of(1), [&](task_group& sessions) {
    return accept_here(shared, index, std::move(listener), sessions);
  });
}

template <class Serve>
task<> serve_all_there(const spreading<Serve>& shared, std::size_t index, tcp_listener listener) {
  co_await on(shared.over[index], serve_all_here(shared, index, std::move(listener)));
}

}  // namespace detail

/// Listens several times on one port, for as many executors: see spread().
///
/// @param options  As for tcp_listener::bind(), for each of them; with port 0 the kernel chooses one for all.
/// @errors         As tcp_listener::bind().
[[nodiscard]] std::vector<tcp_listener> bind_each(std::size_t listeners_count, listen_options options);

/// What spread() calls for each connection: a function of a tcp_stream that returns a task.
template <class Serve>
concept serves_connections =
    std::invocable<const Serve&, tcp_stream> && std::same_as<std::invoke_result_t<const Serve&, tcp_stream>, task<>>;

/// Accepts connections here and has each served by the executor that has the fewest.
///
///   co_await spread(all, tcp_listener::bind({.port = 7000}), echo);
///
/// Of several that have as few the next in the list gets it. What has just ended over there counts until the news of it
/// has come here.
///
/// @param over      A runtime, or a list of executors; this one may be among them or not. Each is turned by its thread
///                  until this is over.
/// @param listener  Closed as soon as this is stopped.
/// @param serve     Called with each connection, on the thread of its executor, by several at once: what it refers to
///                  is shared. The session's task runs there, and so does everything that it awaits.
/// @return          When the listener was shut down, and the last session has ended.
/// @errors          As spread_options::on_error says, of a session; as tcp_listener::accept(). Where descriptors or
///                  memory have run out it waits, and goes on.
/// @cancellation    Stops accepting, and all sessions, and waits for them. A connection that was accepted and not
///                  served is closed.
/// @limits          Without connections_max some hundred connections may be accepted ahead: see ops::accept_stream.
///                  With it they are accepted one by one, and those that there is no room for stay in the backlog.
template <serves_connections Serve>
[[nodiscard]] task<> spread(executor_list over, tcp_listener listener, Serve serve, spread_options options = {}) {
  const detail::spreading<Serve> shared{std::move(over), std::move(serve), std::move(options)};
  co_await with_task_group(shared.group_of(shared.over.size()), [&](task_group& sessions) {
    return detail::hand_over(shared, std::move(listener), sessions);
  });
}

/// The same with a listener for each executor, that accepts and serves what comes to it.
///
///   co_await spread(all, bind_each(all.size(), {.port = 7000}), echo);
///
/// @param listeners  As many as there are executors, on one port: bind_each().
/// @return           When all listeners were shut down, and the last session has ended.
/// @errors           As above. What ends one executor's accepting ends all.
/// @source           socket(7), SO_REUSEPORT.
template <serves_connections Serve>
[[nodiscard]] task<> spread(executor_list over, std::vector<tcp_listener> listeners, Serve serve,
                            spread_options options = {}) {
  GYRE_ASSERT(listeners.size() == over.size(), "each executor has a listener of its own");
  const detail::spreading<Serve> shared{std::move(over), std::move(serve), std::move(options)};
  co_await with_task_group([&](task_group& executors) -> task<> {
    for (std::size_t i = 0; i < listeners.size(); ++i)
      executors.start(detail::serve_all_there(shared, i, std::move(listeners[i])));
    co_return;
  });
}

}  // namespace gyre::net
