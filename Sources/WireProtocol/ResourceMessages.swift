import FleetModel
package import Resources

extension Isobar_V1_ResourceValue {
    package init(_ value: ResourceValue) {
        self.init()
        switch value {
        case .null: self.null = true
        case .bool(let flag): self.bool = flag
        case .number(let number): self.number = number
        case .text(let text): self.text = text
        case .list(let elements): self.list.elements = elements.map { Isobar_V1_ResourceValue($0) }
        case .fields(let fields):
            // Sorted, so that equal values have equal bytes.
            self.fields.fields = fields.sorted { $0.key < $1.key }.map { name, value in
                var field = Isobar_V1_ResourceField()
                field.name = name
                field.value = Isobar_V1_ResourceValue(value)
                return field
            }
        }
    }

    /// Reads the value.
    ///
    /// - Throws: ``WireError`` for nesting beyond what is accepted.
    package func model(depth: Int = 0) throws(WireError) -> ResourceValue {
        guard depth < ResourceValue.deepest else {
            throw WireError(field: "spec", reason: "more than \(ResourceValue.deepest) levels")
        }
        switch self.kind {
        case .null, nil: return .null
        case .bool(let flag): return .bool(flag)
        case .number(let number): return .number(number)
        case .text(let text): return .text(text)
        case .list(let list):
            var elements: [ResourceValue] = []
            for element in list.elements { elements.append(try element.model(depth: depth + 1)) }
            return .list(elements)
        case .fields(let members):
            var fields: [String: ResourceValue] = [:]
            for field in members.fields { fields[field.name] = try field.value.model(depth: depth + 1) }
            return .fields(fields)
        }
    }
}

extension Isobar_V1_ResourceKey {
    package init(_ key: ResourceKey) {
        self.init()
        self.kind = key.kind.rawValue
        self.namespace = key.namespace
        self.name = key.name
    }

    /// Checks and reads the key.
    ///
    /// - Throws: ``WireError`` for a kind or a name that cannot be.
    package func model() throws(WireError) -> ResourceKey {
        guard let kind = ResourceKind(rawValue: self.kind) else {
            throw WireError(field: "key.kind", reason: "\"\(self.kind)\" is not known to this version")
        }
        return try WireError.checking("key.name") { () throws(InvalidName) in
            try ResourceKey(kind, namespace: self.namespace, name: self.name)
        }
    }
}

extension Isobar_V1_Resource {
    package init(_ resource: Resource) {
        self.init()
        self.key = Isobar_V1_ResourceKey(resource.key)
        self.apiVersion = resource.apiVersion
        self.labels = resource.labels
        self.annotations = resource.annotations
        self.spec = Isobar_V1_ResourceValue(resource.spec)
        if let version = resource.resourceVersion { self.resourceVersion = version }
    }

    /// Reads the resource; its spec is not checked here.
    ///
    /// - Throws: ``WireError`` naming the first field that does not hold what it should.
    package func model() throws(WireError) -> Resource {
        Resource(
            key: try self.key.model(),
            apiVersion: self.apiVersion.isEmpty ? nil : self.apiVersion,
            labels: self.labels,
            annotations: self.annotations,
            spec: try self.spec.model(),
            resourceVersion: self.hasResourceVersion ? self.resourceVersion : nil
        )
    }
}
