"""Names of kernel functions that say how a kernel died, waited or was entered, and not why.

On top of the stack of a crashed kernel stand the functions that let it crash: panic, the dump of
memory, the report of the exception, the entry code of the exception itself. Names are those of
the kernel's sources, 2.6 to 6.x, of every architecture, without suffixes.
"""

from __future__ import annotations

import re


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


DYING = _names(
    """
    panic vpanic nmi_panic nmi_panic_self_stop panic_other_cpus_shutdown panic_smp_self_stop
    crash_kexec __crash_kexec machine_kexec machine_crash_shutdown
    native_machine_crash_shutdown crash_setup_regs crash_save_cpu machine_kdump
    __machine_kdump __do_machine_kdump xen_machine_kexec kdump_nmi_callback
    default_machine_crash_shutdown hv_machine_crash_shutdown emergency_restart
    machine_emergency_restart machine_halt machine_restart oops_end oops_begin oops_exit die
    __die __die_body __die_header die_addr die_kernel_fault die_nmi die_if_kernel crash_fadump
    arm64_notify_die disk_dump start_disk_dump try_crashdump netconsole_netdump
    """
)
"""A frame of these on the stack says that the frames above and right below it are machinery."""

EXCEPTION_ENTRIES = _names(
    """
    page_fault async_page_fault error_code error_exit error_entry general_protection
    invalid_op divide_error double_fault stack_segment nmi end_repeat_nmi int3 debug
    machine_check coprocessor_error early_idt_handler_common common_exception handle_exception
    el1_sync el1_da el1_dbg el1_undef el1_inv el1_error el1h_64_sync el1t_64_sync
    el1h_64_error data_access_common data_access_common_virt data_access_slb_common
    data_access_slb_common_virt instruction_access_common instruction_access_common_virt
    handle_page_fault program_check_common program_check_common_virt alignment_common
    alignment_common_virt pgm_check_handler pgm_check_handler_end mcck_int_handler __dabt_svc
    __pabt_svc __und_svc
    """
)
EXCEPTION_ENTRY = re.compile(r"asm_exc_\w+$")
"""Entry points of exceptions: below them stands what was interrupted."""

REPORTING = _names(
    """
    dump_stack dump_stack_lvl __dump_stack show_stack show_trace_log_lvl dump_backtrace
    show_regs delay_tsc __delay __const_udelay __udelay delay_loop ndelay mdelay native_halt
    halt __preempt_count_add __preempt_count_sub rcu_read_lock rcu_read_unlock page_fault_oops
    kernelmode_fixup_or_oops no_context pgtable_bad show_fault_oops bad_area __bad_area
    bad_area_nosemaphore __bad_area_nosemaphore bad_area_access_error do_kern_addr_fault
    do_user_addr_fault handle_page_fault do_page_fault __do_page_fault ___do_page_fault
    trace_do_page_fault do_async_page_fault exc_page_fault spurious_kernel_fault do_trap
    do_error_trap do_trap_no_signal do_invalid_op handle_invalid_op handle_bug exc_invalid_op
    do_general_protection exc_general_protection gp_try_fixup_and_notify do_divide_error
    exc_divide_error do_double_fault exc_double_fault df_debug do_stack_segment
    exc_stack_segment handle_stack_overflow do_int3 exc_int3 fixup_exception math_error
    el1_abort el1_pc el1_bti el1_fpac el1h_64_sync_handler el1h_64_error_handler do_mem_abort
    do_translation_fault do_alignment_fault do_bad_area do_bad do_sea do_serror
    __do_kernel_fault do_undefinstr do_el1_undef do_debug_exception do_el1_brk64 brk_handler
    bug_handler bug_brk_handler call_break_hook call_el1_break_hook arm64_serror_panic
    __do_user_fault bad_page_fault __bad_page_fault hash__do_page_fault do_hash_fault
    do_bad_page_fault_segv program_check_exception do_program_check __do_program_check
    _exception exception_common _exception_pkey system_reset_exception __do_pgm_check
    do_dat_exception do_no_context handle_fault_error handle_fault_error_nolock do_exception
    do_protection_exception illegal_op monitor_event_exception do_DataAbort do_PrefetchAbort
    do_sect_fault report_bug __warn __warn_printk warn_slowpath_fmt warn_slowpath_common
    warn_slowpath_null check_panic_on_warn __report_bug kasan_report kasan_report_invalid_free
    print_report print_address_description end_report kasan_check_range check_memory_region
    check_region_inline kfence_report_error kfence_handle_page_fault
    """
)
REPORTING_TOO = re.compile(
    r"exc_\w+$|native_(?:machine|stop|nmi|irq|safe_halt)\w*$|__(?:asan|hwasan)_\w+$|nmi_\w+$"
)
"""What runs between the exception and the panic."""

WATCHING = _names(
    """
    watchdog_timer_fn watchdog_hardlockup_check watchdog_overflow_callback is_hardlockup
    watchdog_check_hardlockup_hw __perf_event_overflow perf_event_overflow handle_pmi_common
    intel_pmu_handle_irq x86_pmu_handle_irq amd_pmu_handle_irq perf_event_nmi_handler
    nmi_handle perf_ibs_nmi_handler perf_ibs_handle_irq default_do_nmi do_nmi exc_nmi
    __run_hrtimer __hrtimer_run_queues hrtimer_run_queues hrtimer_interrupt
    local_apic_timer_interrupt smp_apic_timer_interrupt __sysvec_apic_timer_interrupt
    sysvec_apic_timer_interrupt instr_sysvec_apic_timer_interrupt
    asm_sysvec_apic_timer_interrupt apic_timer_interrupt run_irq_on_irqstack_cond
    run_sysvec_on_irqstack_cond asm_call_on_stack asm_call_sysvec_on_stack __asm_call_on_stack
    call_on_irq_stack do_interrupt_handler arch_timer_handler_virt arch_timer_handler_phys
    handle_percpu_devid_irq generic_handle_domain_irq gic_handle_irq el1_interrupt
    el1h_64_irq_handler el1h_64_irq el1_irq timer_interrupt decrementer_common
    decrementer_common_virt panic_on_rcu_stall print_cpu_stall print_other_cpu_stall
    check_cpu_stall rcu_pending rcu_sched_clock_irq rcu_check_callbacks update_process_times
    tick_sched_handle tick_sched_timer tick_nohz_handler tick_nohz_highres_handler
    tick_periodic tick_handle_periodic do_machine_check do_mce exc_machine_check mce_panic
    mce_end mce_timed_out mce_start mce_reign default_machine_check machine_check_poll
    unknown_nmi_error mem_parity_error io_check_error pci_serr_error
    """
)
"""What finds a lockup, a stall or broken hardware, and how it comes to run."""

DETECTING = _names(
    """
    __list_add_valid __list_add_valid_or_report __list_del_entry_valid
    __list_del_entry_valid_or_report __list_add list_del __list_del_entry __stack_chk_fail
    usercopy_abort __check_object_size __check_heap_object check_heap_object fortify_panic
    __fortify_panic refcount_warn_saturate __slab_error object_err
    """
)
"""Checks that stop a kernel on behalf of their caller."""

WAITING = _names(
    """
    __switch_to __switch_to_asm context_switch __schedule schedule __schedule_loop
    schedule_preempt_disabled schedule_timeout schedule_timeout_uninterruptible io_schedule
    io_schedule_timeout io_schedule_prepare schedule_hrtimeout_range __wait_for_common
    wait_for_common wait_for_common_io do_wait_for_common wait_for_completion
    wait_for_completion_io wait_for_completion_timeout wait_for_completion_io_timeout
    wait_for_completion_state __mutex_lock __mutex_lock_slowpath mutex_lock
    __mutex_lock_common mutex_lock_nested __down __down_common down rwsem_down_read_slowpath
    rwsem_down_write_slowpath rwsem_down_read_failed rwsem_down_write_failed
    call_rwsem_down_read_failed call_rwsem_down_write_failed __down_read __down_write
    __down_read_common __down_write_common down_read down_write bit_wait bit_wait_io
    __wait_on_bit __wait_on_bit_lock out_of_line_wait_on_bit out_of_line_wait_on_bit_lock
    sleep_on_page sleep_on_buffer rt_mutex_slowlock rt_mutex_slowlock_block
    __rt_mutex_slowlock
    """
)
"""How a task comes to sleep: below stands what it waits for."""

CARRIERS = _names(
    """
    kthread worker_thread rescuer_thread process_one_work process_scheduled_works
    ret_from_fork ret_from_fork_asm ret_from_fork_nospec_begin kernel_thread_helper child_rip
    kernel_thread_starter kernel_thread ret_from_kernel_thread ret_from_kernel_user_thread
    __ret_from_fork start_kernel_thread do_syscall_64 do_syscall_x64 do_syscall_32_irqs_on
    x64_sys_call entry_SYSCALL_64 entry_SYSCALL_64_after_hwframe entry_SYSCALL_64_fastpath
    system_call system_call_fastpath system_call_exception system_call_common
    system_call_vectored_common tracesys do_fast_syscall_32 do_int80_syscall_32 entry_INT80_32
    entry_SYSENTER_32 __do_fast_syscall_32 entry_SYSENTER_compat_after_hwframe
    entry_SYSENTER_compat sysenter_do_call syscall_call el0_svc el0_svc_common el0_svc_handler
    do_el0_svc invoke_syscall __invoke_syscall el0_svc_naked el0t_64_sync el0t_64_sync_handler
    el0_sync el0_sync_handler __do_syscall cpu_idle do_idle cpu_startup_entry
    default_idle_call default_idle arch_cpu_idle start_secondary secondary_startup_64
    secondary_startup_64_no_verify rest_init start_kernel arch_call_rest_init
    secondary_start_kernel __secondary_switched x86_64_start_kernel x86_64_start_reservations
    common_startup_64
    """
)
"""What starts threads, system calls and idle loops: the lowest frames of every stack."""

BORROWED = _names(
    """
    memcpy __memcpy memcpy_orig memcpy_erms memmove __memmove memset __memset memset_orig
    memset_erms memcmp memchr strlen strnlen strcmp strncmp strcpy strncpy strlcpy strscpy
    strstr copy_user_generic_unrolled copy_user_generic_string copy_user_enhanced_fast_string
    rep_movs_alternative copy_page clear_page clear_page_erms clear_page_rep
    native_queued_spin_lock_slowpath queued_spin_lock_slowpath queued_write_lock_slowpath
    queued_read_lock_slowpath _raw_spin_lock _raw_spin_lock_irq _raw_spin_lock_irqsave
    _raw_spin_lock_bh _raw_spin_trylock _raw_read_lock _raw_write_lock _raw_spin_unlock
    _raw_spin_unlock_irqrestore __x86_indirect_thunk_rax smp_call_function_many
    smp_call_function_many_cond smp_call_function_single kfree kmem_cache_free
    kmem_cache_alloc __kmalloc slab_free __slab_free ___slab_alloc
    """
)
"""Code that everyone calls: a fault in it is mostly its caller's."""

MACHINERY = DYING | EXCEPTION_ENTRIES | REPORTING | WATCHING | DETECTING
