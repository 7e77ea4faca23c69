//! A program that greets and exits, as a Linux executable without compiler or linker: ELF header, one program header,
//! a dozen instructions and the text.

use crate::error::Error;

const GREETING: &[u8] = b"Hello from Roadstead: this image was pushed, pulled and verified.\n";

const HEADERS_SIZE: u64 = 64 + 56;
/// Where the file is mapped, headers included.
const BASE: u64 = 0x40_0000;

/// ELF's numbers for the machines (`e_machine`).
const X86_64: u16 = 62;
const AARCH64: u16 = 183;

pub(super) fn for_architecture(architecture: &str) -> Result<Vec<u8>, Error> {
    match architecture {
        "amd64" => Ok(executable(X86_64, &x86_64_code())),
        "arm64" => Ok(executable(AARCH64, &aarch64_code())),
        other => Err(Error::internal(format!("no program for {other}"))),
    }
}

/// `write(1, GREETING, len)`, `exit(0)`. The greeting follows the code.
fn x86_64_code() -> Vec<u8> {
    const TAIL: [u8; 11] = [
        0x0f, 0x05, // syscall
        0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
        0x31, 0xff, // xor edi, edi
        0x0f, 0x05, // syscall
    ];
    let length = u8::try_from(GREETING.len()).unwrap_or(u8::MAX);
    let mut code = vec![
        0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
        0xbf, 1, 0, 0, 0, // mov edi, 1
        0xba, length, 0, 0, 0, // mov edx, length
        0x48, 0x8d, 0x35, 11, 0, 0, 0, // lea rsi, [rip + 11]: past the tail
    ];
    code.extend(TAIL);
    code
}

/// The same for the other machine. Every instruction is four bytes, and `adr` counts from its own address.
fn aarch64_code() -> Vec<u8> {
    let movz = |register: u32, value: u32| 0xd280_0000 | value << 5 | register;
    let svc = 0xd400_0001_u32;
    let length = u32::try_from(GREETING.len()).unwrap_or(u32::MAX);
    // adr x1, +28: the immediate's low two bits are zero, the rest is 28 / 4.
    let adr = 0x1000_0000 | (28 / 4) << 5 | 1;
    [
        movz(0, 1),
        adr,
        movz(2, length),
        movz(8, 64),
        svc,
        movz(0, 0),
        movz(8, 93),
        svc,
    ]
    .into_iter()
    .flat_map(u32::to_le_bytes)
    .collect()
}

fn executable(machine: u16, code: &[u8]) -> Vec<u8> {
    let size = HEADERS_SIZE + (code.len() + GREETING.len()) as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(2_u16.to_le_bytes()); // executable
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend((BASE + HEADERS_SIZE).to_le_bytes()); // entry
    file.extend(64_u64.to_le_bytes()); // program headers
    file.extend(0_u64.to_le_bytes()); // no section headers
    file.extend(0_u32.to_le_bytes());
    for field in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes()); // load
    file.extend(5_u32.to_le_bytes()); // readable, executable
    // File offset, virtual and physical address, sizes, alignment (64 KiB: the largest page of arm64).
    for field in [0_u64, BASE, BASE, size, size, 0x1_0000] {
        file.extend(field.to_le_bytes());
    }
    file.extend(code);
    file.extend(GREETING);
    file
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    use super::*;

    #[test]
    fn greeting_follows_the_code() {
        assert_eq!(x86_64_code().len(), 22 + 11);
        assert_eq!(aarch64_code().len(), 4 + 28);
    }

    #[test]
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn the_program_of_this_machine_runs() {
        let architecture = if cfg!(target_arch = "x86_64") {
            "amd64"
        } else {
            "arm64"
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hello");
        fs::write(&path, for_architecture(architecture).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(&path).output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, GREETING);
    }
}
