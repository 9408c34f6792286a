//! Kernel parameters, set where each distribution and boot loader keeps them.

use crate::check::Remedy;

/// The ways to boot with a parameter, one a boot loader. All of them reboot the node: drain it first.
pub(super) fn with_parameter(why: &str, parameter: &str) -> [Remedy; 9] {
    let way = |when: &str, command: String| {
        Remedy::new(format!("{why} The node reboots: drain it first.")).when(when).command(command)
    };
    let reboot = |command: &str| format!("{command} && reboot");
    [
        way("Debian or Ubuntu, GRUB", reboot("update-grub")).persist(
            "/etc/default/grub.d/99-kubernetes.cfg",
            format!("GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {parameter}\"\n"),
        ),
        way("RHEL, Fedora or Amazon Linux", reboot(&format!("grubby --update-kernel=ALL --args='{parameter}'"))),
        way(
            "SUSE, GRUB",
            reboot(&format!(
                "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{parameter} /' /etc/default/grub && \
                 grub2-mkconfig -o /boot/grub2/grub.cfg"
            )),
        ),
        way("Pop!_OS, kernelstub", reboot(&format!("kernelstub --add-options '{parameter}'"))),
        way(
            "systemd-boot with kernel-install",
            reboot(&format!("sed -i '1s/$/ {parameter}/' /etc/kernel/cmdline && kernel-install add-all")),
        ),
        way("Raspberry Pi OS", reboot(&format!("sed -i '1s/$/ {parameter}/' /boot/firmware/cmdline.txt"))),
        way("Fedora CoreOS, rpm-ostree", reboot(&format!("rpm-ostree kargs --append-if-missing='{parameter}'"))),
        way("Flatcar", reboot(&format!("echo 'set linux_append=\"$linux_append {parameter}\"' >> /oem/grub.cfg"))),
        Remedy::new(format!("{why} Upgrade the node with the new machine configuration: it reboots."))
            .when("Talos")
            .command("talosctl upgrade --nodes NODE --image IMAGE")
            .persist("machine.yaml", format!("machine:\n  install:\n    extraKernelArgs: ['{parameter}']\n")),
    ]
}
