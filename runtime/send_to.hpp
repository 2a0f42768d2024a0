// SPDX-License-Identifier: MIT
// send_to(): a descriptor changes executors, together with the task that uses it from then on.
//
// A descriptor is the process's, and may be used by any executor; what is in flight on it is the business of the one
// ring that has it. So it can change hands when its old executor has nothing in flight on it any more, and the kernel
// alone knows that: send_to() asks it, as tcp_stream::close() does.
//
// A direct descriptor is a slot in one executor's table, so that it changes tables on the way: the kernel puts its file
// into a slot over there, which it chooses (IORING_OP_MSG_RING), then the slot here is closed, then `use` is called.
// Each is owned at every moment by what runs here; by the call, from when that leaves; and by `use`, when it is called:
//
//   what comes                                        what becomes of the descriptor, or of both
//   a stop before the kernel is asked                 closed here
//   a stop while it is asked                          it is not called back: answers, and both are closed
//   no slot over there, or no table                   closed here; the error names the option
//   a stop when it is over there, `use` not called    closed over there; by a message, where it comes before the call
//                                                     has left
//   the other executor takes no more tasks, or ends   closed over there: `use` is not called
//   a stop, or that end, while `use` runs             closed over there, when its task has ended
#pragma once

#include <gyre/runtime/direct_fd.hpp>
#include <gyre/runtime/executor.hpp>
#include <gyre/runtime/fd_ref.hpp>
#include <gyre/runtime/on.hpp>
#include <gyre/runtime/task.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace gyre {
namespace detail {

template <class T>
concept lends_descriptor = requires(const T& owner) {
  { owner.fd() } -> std::convertible_to<fd_ref>;
};

template <class T>
[[nodiscard]] fd_ref descriptor_of(const T& owner) noexcept {
  if constexpr (lends_descriptor<T>) return owner.fd();
  else return owner;
}

/// Ends all that this executor has in flight on a descriptor.
task<> end_all_on(fd_ref descriptor);

/// Takes a direct descriptor into the table of `there`, out of this executor's.
task<direct_fd> change_tables(executor& there, direct_fd sent);

/// Calls `use` over there. The owner goes there, too, also where nobody takes it out of `sent`: an executor that ends
/// waits for this task, and for nothing that its caller still has of it.
template <class Owner, class Fn>
auto use_there(Owner sent, Fn& use) -> task<awaited_t<std::invoke_result_t<Fn&, Owner>>> {
  Owner mine{std::move(sent)};
  co_return co_await for_caller(std::invoke(use, std::move(mine)));
}

}  // namespace detail

/// What owns a descriptor: unique_fd, direct_fd, net::tcp_stream, net::tcp_listener, fs::file, and types like them. It
/// can be moved and not copied, and lends the descriptor by fd(), or as an fd_ref.
template <class T>
concept owns_descriptor = std::move_constructible<T> && !std::copy_constructible<T> &&
                          (detail::lends_descriptor<T> || std::convertible_to<const T&, fd_ref>);

/// Takes a descriptor to another executor, where `use(std::move(sent))` is called and its task runs; gives what that
/// returns, here.
///
///   co_await gyre::send_to(least_busy(), std::move(stream), relay);
///
/// Who has used the descriptor here lets go of it first: what is in flight on it ends with operation_canceled, or with
/// the result that it had already. For a descriptor on which nothing was ever in flight there is no need to ask, and
/// on(there, use(std::move(sent))) does the rest.
///
/// @param there  As for on(). Its own executor: lets go all the same, and calls `use` here.
/// @param sent   Its owner. Destroyed, and so closed, when `use` was not called.
/// @param use    Takes the owner and returns a task. Called on the thread of `there`; kept here until the task has
///               ended.
/// @return       What the task returns: to send it on, or back, it can return the owner.
/// @errors       What the task throws; bad_file_descriptor where nothing is owned; as on(). For a direct descriptor
///               too_many_files_open_in_system: no slot is free over there.
/// @cancellation As on(). One that comes before `use` is called closes the descriptor.
/// @limits       Looks through all that is in flight on this executor, as ops::cancel_fd does: 0.3 ms at 20,000
///               operations. What a task of this executor begins on the descriptor after that is not seen. A direct
///               descriptor takes two requests more, and the other thread is woken for one of them.
/// @source       io_uring_prep_cancel_fd(3). Linux 5.19. For direct ones io_uring_prep_msg_ring_fd_alloc(3). Linux 6.0.
template <owns_descriptor Owner, class Fn>
  requires std::invocable<Fn&, Owner> && detail::is_task<std::invoke_result_t<Fn&, Owner>>
[[nodiscard]] auto send_to(executor& there, Owner sent, Fn use)
    -> task<detail::awaited_t<std::invoke_result_t<Fn&, Owner>>> {
  co_await detail::for_caller(detail::end_all_on(detail::descriptor_of(sent)));
  if constexpr (std::same_as<Owner, direct_fd>)
    sent = co_await detail::for_caller(detail::change_tables(there, std::move(sent)));
  co_return co_await detail::for_caller(on(there, detail::use_there(std::move(sent), use)));
}

}  // namespace gyre
