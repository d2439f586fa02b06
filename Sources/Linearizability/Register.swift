/// One named thing with a value that clients read, write, replace and remove.
///
/// Writers that each use values of their own make every lost or repeated effect show.
package struct Register: SequentialSpecification {
    package enum Call: Hashable, Sendable {
        case read
        case write(String)
        /// Write, if this value stands there.
        case replace(String, with: String)
        case remove
    }

    package enum Answer: Hashable, Sendable {
        /// What stands there; `nil` for nothing.
        case value(String?)
        case done
        /// Another value stands there, or none: nothing was done.
        case conflict
        /// Nothing stood there.
        case absent
    }

    package init() {}

    package var initial: String? { nil }

    package func step(_ state: String?, _ call: Call, _ answer: Answer?) -> String?? {
        switch (call, answer) {
        case (.read, nil): .some(state)
        case (.read, .value(let value)): value == state ? .some(state) : nil
        case (.write(let value), nil), (.write(let value), .done): .some(value)
        case (.replace(let old, let new), nil): .some(state == old ? new : state)
        case (.replace(let old, let new), .done): state == old ? .some(new) : nil
        case (.replace(let old, _), .conflict): state != old ? .some(state) : nil
        case (.remove, nil): .some(nil)
        case (.remove, .done): state != nil ? .some(nil) : nil
        case (.remove, .absent): state == nil ? .some(nil) : nil
        case (.read, _), (.write, _), (.replace, _), (.remove, _): nil
        }
    }
}
