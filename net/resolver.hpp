// SPDX-License-Identifier: MIT
// Names to addresses, on threads of their own: a name server that does not answer holds up nobody but who asked it.
//
// getaddrinfo(3) blocks, and nothing can stop it. So a query belongs to the resolver, and not to who asks: it goes on
// when they have gone. Those who ask for the same name while it is under way wait for the same query.
//
//   queued   somebody asks, and every thread is busy. When the last who asked has gone it is dropped, and never runs
//   running  a thread looks it up. Whoever asks for it joins, also when the others have gone
//   done     all who wait are resumed; who asks from now on begins another: nothing is kept
//
// The resolver's lock guards these steps and the lists; nothing runs under it. Who takes a wait out of its query's list
// decides how it ends, an answer or a cancel: runtime/suspension.hpp.
#pragma once

#include <gyre/net/address.hpp>
#include <gyre/runtime/result.hpp>
#include <gyre/runtime/task.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace gyre::net {

/// What a name server, or the lack of one, says: the EAI_ errors of getaddrinfo(3), in a category of their own.
enum class resolver_errc {
  try_again = 1,      ///< EAI_AGAIN: no name server has answered, for now.
  server_failed,      ///< EAI_FAIL: one has answered that it cannot.
  host_not_found,     ///< EAI_NONAME, EAI_NODATA: there is no such name, or it has no address.
  service_not_found,  ///< EAI_SERVICE: no such service is known, or the port is no number.
  other               ///< Any other of them.
};

/// The category of resolver_errc.
[[nodiscard]] const std::error_category& resolver_category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(resolver_errc code) noexcept {
  return {static_cast<int>(code), resolver_category()};
}

/// What a resolver is made with.
struct resolver_options {
  /// How many names are looked up at a time, each on a thread. More than zero.
  std::size_t threads_max = 4;

  /// How many names wait for a thread, at most. Who asks then fails with resource_unavailable_try_again.
  std::size_t queue_max = 1024;

  /// What looks a name up, on one of the threads, and may block: the addresses with the service's port, best first, or
  /// the error. Empty: getaddrinfo(3), so that /etc/hosts, /etc/resolv.conf and /etc/services are heeded.
  std::function<result<std::vector<address>>(const std::string& host, const std::string& service)> look_up{};
};

/// What a resolver is doing now, and has counted.
struct resolver_statistics {
  std::size_t running = 0;      ///< Names that a thread looks up.
  std::size_t queued = 0;       ///< Names that wait for a thread.
  std::uint64_t looked_up = 0;  ///< Names that have been.
  std::uint64_t joined = 0;     ///< Times that somebody waited for the query of another.
};

/// Looks names up.
///
///   const auto found = co_await net::resolver::common().resolve("example.org", 443);
///
/// @threads  Coroutines on any executor, at once.
/// @limits   Its destructor waits for the names that are being looked up, which takes as long as /etc/resolv.conf says.
class resolver {
 public:
  explicit resolver(resolver_options options = {});
  resolver(const resolver&) = delete;
  resolver& operator=(const resolver&) = delete;
  /// Nobody may wait for it.
  ~resolver();

  /// That of the process, for those who have none of their own: made at the first use, with the default options.
  [[nodiscard]] static resolver& common();

  /// The addresses of a host, with a port, best first: as getaddrinfo(3) orders them for stream sockets. An address in
  /// text is read at once.
  ///
  /// @param host    A name, or an IPv4 or IPv6 address without brackets.
  /// @return        One or more.
  /// @errors        resolver_errc; invalid_argument: a zero in the name; resource_unavailable_try_again: the queue is
  ///                full, or there can be no thread; what getaddrinfo(3) fails with of the system
  /// @cancellation  Safe, and at once, whatever the name server does.
  [[nodiscard]] task<std::vector<address>> resolve(std::string host, std::uint16_t port);

  /// The same with the name of a service, "https", or a number in text.
  [[nodiscard]] task<std::vector<address>> resolve(std::string host, std::string service);

  /// @threads  Any thread.
  [[nodiscard]] resolver_statistics statistics() const;

 private:
  struct query;
  class asking;
  class answer_wait;

  [[nodiscard]] std::shared_ptr<query> join_or_queue(const std::string& host, const std::string& service);
  void leave(query& left) noexcept;
  void start_thread_if_wanted();
  void work() noexcept;
  void answer(std::unique_lock<std::mutex>& lock, std::shared_ptr<query> asked) noexcept;
  void look_up(query& asked) const noexcept;

  const resolver_options options_;
  const int process_;  // whose threads these are

  mutable std::mutex guard_;
  std::condition_variable has_work_;
  std::vector<std::shared_ptr<query>> in_flight_;  // queued or running
  std::deque<std::shared_ptr<query>> queue_;       // of them, the queued ones
  std::vector<std::thread> threads_;
  std::size_t idle_threads_count_ = 0;
  bool closing_ = false;
  std::uint64_t looked_up_count_ = 0;
  std::uint64_t joined_count_ = 0;
};

}  // namespace gyre::net

template <>
struct std::is_error_code_enum<gyre::net::resolver_errc> : std::true_type {};
