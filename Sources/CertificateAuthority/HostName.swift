import Foundation
import SwiftASN1
import X509

/// A host in a certificate: a name, or an IP address as text.
enum HostName {
    /// The four or sixteen bytes of an IP address; `nil` for a name.
    static func address(_ host: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, host, &bytes) == 1 { return Array(bytes.prefix(4)) }
        return inet_pton(AF_INET6, host, &bytes) == 1 ? bytes : nil
    }

    /// The text of an IP address.
    static func text(_ address: [UInt8]) -> String? {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = address.count == 4 ? AF_INET : AF_INET6
        guard inet_ntop(family, address, &text, socklen_t(text.count)) != nil else { return nil }
        return text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
    }

    static func general(_ host: String) -> GeneralName {
        self.address(host).map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) } ?? .dnsName(host)
    }

    /// Letters, digits, hyphens and dots, as of RFC 1123, with a star for the first label; or an IP address.
    static func isValid(_ host: String) -> Bool {
        if self.address(host) != nil { return true }
        return (1...253).contains(host.utf8.count)
            && host.wholeMatch(of: /(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?/) != nil
    }
}

extension Certificate {
    /// The host names and IP addresses that it is good for.
    var hosts: [String] {
        guard let names = try? self.extensions.subjectAlternativeNames else { return [] }
        return names.compactMap { name in
            switch name {
            case .dnsName(let host): host
            case .ipAddress(let address): HostName.text(Array(address.bytes))
            default: nil
            }
        }
    }
}
