// SPDX-License-Identifier: MIT
// One object of a type for each executor, made when it is first asked for: executor::local().
#pragma once

#include <memory>
#include <utility>

namespace gyre {
class executor;
}

namespace gyre::detail {

class executor_locals {
 public:
  /// The T, or null.
  template <class T>
  [[nodiscard]] T* find() const noexcept {
    for (local_object* each = newest_.get(); each != nullptr; each = each->older.get())
      if (each->type == &key_of<T>) return &static_cast<local_of<T>*>(each)->object;
    return nullptr;
  }

  /// The T, made if there is none.
  template <class T>
  [[nodiscard]] T& get(executor& loop) {
    if (T* const found = find<T>()) return *found;
    auto made = std::make_unique<local_of<T>>(loop);
    T& object = made->object;
    made->older = std::move(newest_);
    newest_ = std::move(made);
    return object;
  }

 private:
  template <class T>
  static inline char key_of = 0;  // its address stands for the type

  struct local_object {
    explicit local_object(const char* its_type) noexcept : type{its_type} {}
    local_object(const local_object&) = delete;
    local_object& operator=(const local_object&) = delete;
    virtual ~local_object() = default;

    const char* const type;
    std::unique_ptr<local_object> older;
  };

  template <class T>
  struct local_of final : local_object {
    explicit local_of(executor& loop) : local_object{&key_of<T>}, object{loop} {}
    T object;
  };

  std::unique_ptr<local_object> newest_;
};

}  // namespace gyre::detail
