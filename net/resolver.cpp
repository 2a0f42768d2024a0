// SPDX-License-Identifier: MIT
// The queries under way, the threads that look them up, and who waits for which.
#include <gyre/net/resolver.hpp>
#include <gyre/runtime/assert.hpp>
#include <gyre/runtime/pinning.hpp>
#include <gyre/runtime/suspension.hpp>
#include <gyre/runtime/this_task.hpp>

#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <utility>

namespace gyre::net {
namespace {

class category_of_resolver final : public std::error_category {
 public:
  const char* name() const noexcept override { return "gyre.resolver"; }
  std::string message(int value) const override {
    switch (static_cast<resolver_errc>(value)) {
      case resolver_errc::try_again:
        return "no name server has answered: try again, or look at /etc/resolv.conf";
      case resolver_errc::server_failed:
        return "the name server cannot answer";
      case resolver_errc::host_not_found:
        return "there is no such host, or it has no address";
      case resolver_errc::service_not_found:
        return "there is no such service: a name of /etc/services, or a number";
      case resolver_errc::other:
        break;
    }
    return "the name cannot be looked up";
  }
};

std::error_code code_of(int eai, int its_errno) noexcept {
  switch (eai) {
    case EAI_AGAIN:
      return resolver_errc::try_again;
    case EAI_FAIL:
      return resolver_errc::server_failed;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
      return resolver_errc::host_not_found;
    case EAI_SERVICE:
      return resolver_errc::service_not_found;
    case EAI_MEMORY:
      return std::make_error_code(std::errc::not_enough_memory);
    case EAI_SYSTEM:
      return {its_errno, std::system_category()};
    default:
      return resolver_errc::other;
  }
}

// getaddrinfo(3).
result<std::vector<address>> ask_system(const std::string& host, const std::string& service) {
  ::addrinfo hints{};
  hints.ai_flags = AI_ADDRCONFIG;
  hints.ai_socktype = SOCK_STREAM;
  ::addrinfo* first = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &first);
  if (failure != 0) return code_of(failure, errno);
  const std::unique_ptr<::addrinfo, decltype(&::freeaddrinfo)> owned{first, &::freeaddrinfo};
  std::vector<address> found;
  for (const ::addrinfo* each = first; each != nullptr; each = each->ai_next) {
    ::sockaddr_storage storage{};
    std::memcpy(&storage, each->ai_addr, each->ai_addrlen);
    const auto usable = address::from_kernel(storage);
    if (usable && std::find(found.begin(), found.end(), *usable) == found.end()) found.push_back(*usable);
  }
  if (found.empty()) return make_error_code(resolver_errc::host_not_found);
  return found;
}

// The program's handlers are to run on threads of its own, so a thread here has all signals blocked but those of
// faults.
std::thread start_without_signals(auto body) {
  ::sigset_t blocked;
  ::sigset_t before;
  ::sigfillset(&blocked);
  for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP}) ::sigdelset(&blocked, fault);
  ::pthread_sigmask(SIG_SETMASK, &blocked, &before);
  try {
    std::thread started{std::move(body)};
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
}

}  // namespace

const std::error_category& resolver_category() noexcept {
  static const category_of_resolver category;
  return category;
}

struct resolver::query {
  std::string host;
  std::string service;

  // Under the resolver's lock.
  enum class place : std::uint8_t { queued, running, done } where = place::queued;
  std::size_t askers_count = 0;
  suspension_list waiting;

  // Written by the thread that looks it up, before it is done.
  std::error_code error;
  std::vector<address> found;
};

// One who asks, from the question on.
class resolver::asking {
 public:
  asking(resolver& asked, const std::string& host, const std::string& service)
      : resolver_{asked}, query_{asked.join_or_queue(host, service)} {}
  asking(const asking&) = delete;
  asking& operator=(const asking&) = delete;
  ~asking() { resolver_.leave(*query_); }

  query& its_query() const noexcept { return *query_; }

 private:
  resolver& resolver_;
  const std::shared_ptr<query> query_;
};

// Waits until a query is done.
class resolver::answer_wait final : public suspension {
 public:
  answer_wait(resolver& asked, query& waited_for) noexcept : suspension{kind}, resolver_{asked}, query_{waited_for} {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiter) noexcept {
    if (!begin(awaiter)) return true;
    const std::scoped_lock lock{resolver_.guard_};
    if (query_.where != query::place::done) return query_.waiting.push_back(*this), true;
    end_at_once();
    return false;
  }
  void await_resume() { resumed(); }

 private:
  static bool withdraw(suspension& self) noexcept {
    auto& leaving = static_cast<answer_wait&>(self);
    const std::scoped_lock lock{leaving.resolver_.guard_};
    return leaving.query_.waiting.remove(leaving);
  }
  static constexpr suspension_kind kind{"resolve", &withdraw};

  resolver& resolver_;
  query& query_;
};

resolver::resolver(resolver_options options) : options_{std::move(options)}, process_{::getpid()} {
  GYRE_ASSERT(options_.threads_max > 0, "a resolver without a thread looks nothing up");
}

resolver::~resolver() {
  if (process_ != ::getpid()) {  // the child of a fork has no such threads
    for (std::thread& each : threads_) each.detach();
    std::construct_at(&has_work_);  // pthread_cond_destroy(3) would wait for those of the parent's that wait in it
    return;
  }
  {
    const std::scoped_lock lock{guard_};
    for (const auto& each : in_flight_)
      GYRE_ASSERT(each->askers_count == 0, "a resolver was destroyed while somebody waits for it");
    closing_ = true;
  }
  has_work_.notify_all();
  for (std::thread& each : threads_) each.join();
}

// One for each process: the child of a fork finds that of its parent, and makes another. It is never destroyed: the
// end of a program does not wait for a name server.
resolver& resolver::common() {
  static constinit std::atomic<resolver*> kept = nullptr;
  resolver* found = kept.load();
  while (found == nullptr || found->process_ != ::getpid()) {
    auto made = std::make_unique<resolver>();
    if (kept.compare_exchange_strong(found, made.get())) return *made.release();
  }
  return *found;
}

task<std::vector<address>> resolver::resolve(std::string host, std::uint16_t port) {
  if (const auto literal = address::parse(host, port); literal && literal->port() == port)
    co_return std::vector<address>{*literal};
  co_return co_await resolve(std::move(host), std::to_string(port));
}

task<std::vector<address>> resolver::resolve(std::string host, std::string service) {
  if (host.find('\0') != std::string::npos || service.find('\0') != std::string::npos)
    throw std::system_error{std::make_error_code(std::errc::invalid_argument), "resolving a name with a zero in it"};
  co_await this_task::checkpoint();  // in a scope that is cancelled nobody is asked
  const asking asked{*this, host, service};
  co_await answer_wait{*this, asked.its_query()};
  if (asked.its_query().error) throw std::system_error{asked.its_query().error, "resolving " + host};
  co_return asked.its_query().found;
}

resolver_statistics resolver::statistics() const {
  const std::scoped_lock lock{guard_};
  return {.running = in_flight_.size() - queue_.size(),
          .queued = queue_.size(),
          .looked_up = looked_up_count_,
          .joined = joined_count_};
}

// -------------------------------------------------------------------------------------------------- who asks

std::shared_ptr<resolver::query> resolver::join_or_queue(const std::string& host, const std::string& service) {
  GYRE_ASSERT(process_ == ::getpid(),
              "the child of a fork uses a resolver of its parent's, whose threads it has not: make one in the child");
  const std::scoped_lock lock{guard_};
  for (const auto& each : in_flight_) {
    if (each->host != host || each->service != service) continue;
    ++each->askers_count;
    ++joined_count_;
    return each;
  }
  if (queue_.size() >= options_.queue_max)
    throw std::system_error{std::make_error_code(std::errc::resource_unavailable_try_again),
                            "resolving " + host + ": resolver_options::queue_max names wait already"};
  start_thread_if_wanted();
  auto made = std::make_shared<query>();
  made->host = host;
  made->service = service;
  made->askers_count = 1;
  in_flight_.push_back(made);
  try {
    queue_.push_back(made);
  } catch (...) {
    in_flight_.pop_back();
    throw;
  }
  has_work_.notify_one();
  return made;
}

// One that is running is left to its thread.
void resolver::leave(query& left) noexcept {
  const std::scoped_lock lock{guard_};
  if (--left.askers_count > 0 || left.where != query::place::queued) return;
  const auto is_left = [&](const auto& each) { return each.get() == &left; };
  std::erase_if(queue_, is_left);
  std::erase_if(in_flight_, is_left);
}

// -------------------------------------------------------------------------------------------------- the threads

// With the lock held. As long as there is one thread, it comes to every name.
void resolver::start_thread_if_wanted() {
  if (idle_threads_count_ > queue_.size() || threads_.size() == options_.threads_max) return;
  try {
    threads_.reserve(options_.threads_max);
    threads_.push_back(start_without_signals([this, cpus = cpus_before_pinning{}] {
      cpus.restore();
      work();
    }));
  } catch (const std::system_error&) {
    if (threads_.empty()) throw;
  }
}

void resolver::work() noexcept {
  ::pthread_setname_np(::pthread_self(), "gyre-resolver");
  std::unique_lock lock{guard_};
  for (;;) {
    ++idle_threads_count_;
    has_work_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    --idle_threads_count_;
    if (closing_) return;
    std::shared_ptr<query> next = std::move(queue_.front());
    queue_.pop_front();
    answer(lock, std::move(next));
  }
}

void resolver::answer(std::unique_lock<std::mutex>& lock, std::shared_ptr<query> asked) noexcept {
  asked->where = query::place::running;
  lock.unlock();
  look_up(*asked);
  granted_suspensions answered;
  lock.lock();
  asked->where = query::place::done;
  asked->waiting.move_all_to(answered);
  std::erase(in_flight_, asked);
  ++looked_up_count_;
  lock.unlock();
  answered.resume_all();
  lock.lock();
}

void resolver::look_up(query& asked) const noexcept {
  try {
    auto answered =
        options_.look_up ? options_.look_up(asked.host, asked.service) : ask_system(asked.host, asked.service);
    if (answered) asked.found = std::move(*answered);
    else asked.error = answered.error();
    if (answered && asked.found.empty()) asked.error = resolver_errc::host_not_found;
  } catch (const std::system_error& failed) {
    asked.error = failed.code();
  } catch (const std::bad_alloc&) {
    asked.error = std::make_error_code(std::errc::not_enough_memory);
  } catch (...) {
    asked.error = resolver_errc::other;
  }
}

}  // namespace gyre::net
