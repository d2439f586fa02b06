/// One field that differs between two resources.
package struct ResourceDifference: Hashable, Sendable {
    /// As in `spec.targetPorts[0].number`.
    package let path: String
    /// `nil` where there was nothing.
    package let before: ResourceValue?
    /// `nil` where there is nothing any more.
    package let after: ResourceValue?

    /// The fields that differ, sorted by path; the revision is no field.
    package static func between(_ before: Resource?, _ after: Resource?) -> [ResourceDifference] {
        func tree(_ resource: Resource?) -> ResourceValue? {
            var resource = resource
            resource?.resourceVersion = nil
            return resource?.manifest
        }
        var differences: [ResourceDifference] = []
        Self.walk("", tree(before), tree(after), into: &differences)
        return differences
    }

    private static func walk(
        _ path: String,
        _ before: ResourceValue?,
        _ after: ResourceValue?,
        into differences: inout [ResourceDifference]
    ) {
        guard before != after else { return }
        switch (before, after) {
        case (.fields(let old)?, .fields(let new)?):
            Self.walk(path, members: old, new, into: &differences)
        case (nil, .fields(let new)?) where !new.isEmpty:
            Self.walk(path, members: [:], new, into: &differences)
        case (.fields(let old)?, nil) where !old.isEmpty:
            Self.walk(path, members: old, [:], into: &differences)
        case (.list(let old)?, .list(let new)?):
            Self.walk(path, elements: old, new, into: &differences)
        case (nil, .list(let new)?) where !new.isEmpty:
            Self.walk(path, elements: [], new, into: &differences)
        case (.list(let old)?, nil) where !old.isEmpty:
            Self.walk(path, elements: old, [], into: &differences)
        default: differences.append(ResourceDifference(path: path, before: before, after: after))
        }
    }

    private static func walk(
        _ path: String,
        elements old: [ResourceValue],
        _ new: [ResourceValue],
        into differences: inout [ResourceDifference]
    ) {
        for place in 0..<max(old.count, new.count) {
            Self.walk(
                "\(path)[\(place)]",
                place < old.count ? old[place] : nil,
                place < new.count ? new[place] : nil,
                into: &differences
            )
        }
    }

    private static func walk(
        _ path: String,
        members old: [String: ResourceValue],
        _ new: [String: ResourceValue],
        into differences: inout [ResourceDifference]
    ) {
        for name in Set(old.keys).union(new.keys).sorted() {
            Self.walk(path.isEmpty ? name : "\(path).\(name)", old[name], new[name], into: &differences)
        }
    }
}
