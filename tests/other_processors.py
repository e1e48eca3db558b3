"""What LLVM makes of code for a processor that this machine is not."""

import llvmlite.binding as llvm
import pytest


def assembly_for(module, triple, cpu, features):
    """The assembly of an ir.Module, optimised; skips the test if this llvmlite was built without that kind."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        found = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this llvmlite was built without {triple}")
    module.triple = triple
    machine = found.create_target_machine(cpu=cpu, features=features, opt=3)
    return machine.emit_assembly(optimized(str(module), machine))


def optimized(source, machine):
    parsed = llvm.parse_assembly(source)
    parsed.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(parsed, builder)
    return parsed
